"""A job's state between two steps, and the way back to it.

What all ranks have in common is the first one's; what each has for itself (running statistics,
sifting, how far its loader is, its sums) is collected on the first one. A job that goes on from it
takes the very steps that it would have taken.
"""

from __future__ import annotations

from typing import Any

import torch

from sagemaker_sift.trainer.config import TrainingConfig
from sagemaker_sift.trainer.data.preparation import TrainingData
from sagemaker_sift.trainer.errors import TrainingError
from sagemaker_sift.trainer.optimizer import load_optimizer_state
from sagemaker_sift.trainer.running_metrics import RunningMetrics
from sagemaker_sift.trainer.sifting import SiftedLoader
from sagemaker_sift.trainer.trainee import Trainee


class Snapshot:
    """Captures and restores the training state of one process.

    Args:
        config: The job.
        trainee: Its network and what trains it.
        data: Its batches.
        sifted: The sifted batches, if the job sifts.
    """

    def __init__(
        self,
        config: TrainingConfig,
        trainee: Trainee,
        data: TrainingData,
        sifted: SiftedLoader | None,
    ) -> None:
        self._config = config
        self._trainee = trainee
        self._data = data
        self._sifted = sifted

    def capture(
        self, metrics: RunningMetrics | None, *, is_trained: bool
    ) -> dict[str, Any] | None:
        """Return the state on the first rank, elsewhere ``None``; all ranks call it together.

        Args:
            metrics: Of the epoch under way, or ``None`` between two epochs.
            is_trained: Whether that epoch has only its validation before it.
        """
        trainee = self._trainee
        is_in_epoch = metrics is not None
        own = {
            "sifting": None if self._sifted is None else self._sifted.state_dict(),
            "loader": self._data.train.state_dict() if is_in_epoch and not is_trained else None,
            "metrics": metrics.state_dict() if metrics else None,
            "statistics": [value.cpu() for value in trainee.statistics] if is_in_epoch else None,
        }
        all_own = trainee.ranks.gather(own)
        if not trainee.ranks.is_first:
            return None
        return {
            "network": self._describe_network(),
            "course": self._describe_course(),
            "model": dict(trainee.network.state_dict()),
            "optimizer": trainee.optimizer.state_dict(),
            "scaler": trainee.precision.state_dict(),
            "is_in_epoch": is_in_epoch,
            "is_trained": is_trained,
            "ranks": all_own,
        }

    def restore_weights(self, state: dict[str, Any]) -> None:
        """Take the network's weights from a state, and nothing else.

        Raises:
            TrainingError: If the state is of another network.
        """
        self._compare(state["network"], self._describe_network())
        self._trainee.network.load_state_dict(state["model"])

    def restore(self, state: dict[str, Any], metrics: RunningMetrics) -> bool:
        """Go back to a state.

        Args:
            state: What :meth:`capture` returned, the same on all ranks.
            metrics: Gets the sums of the epoch under way.

        Returns:
            Whether an epoch is under way.

        Raises:
            TrainingError: If the state is of another network, of a job that takes its batches in
                another way, or of a version that sifted in another way.
        """
        self._check(state)
        trainee = self._trainee
        is_in_epoch = bool(state["is_in_epoch"])
        saved, rank = state["ranks"], trainee.ranks.rank
        own = saved[rank] if self._needs_own(state) and rank < len(saved) else None
        trainee.network.load_state_dict(state["model"])
        load_optimizer_state(trainee.optimizer, state["optimizer"])
        trainee.precision.load_state_dict(state["scaler"])
        if own is None:
            return is_in_epoch
        if is_in_epoch:
            metrics.load_state_dict(own["metrics"])
            with torch.no_grad():
                for value, saved in zip(trainee.statistics, own["statistics"], strict=True):
                    value.copy_(saved)
        if self._sifted is not None and own["sifting"] is not None:
            self._restore_sifting(self._sifted, own["sifting"])
        elif own["loader"] is not None:
            self._data.train.load_state_dict(own["loader"])
        return is_in_epoch

    def _restore_sifting(self, sifted: SiftedLoader, own: dict[str, Any]) -> None:
        try:
            sifted.load_state_dict(own)
        except ValueError as error:  # samples that wait for a batch lack what this job needs
            raise TrainingError(
                f"The checkpoint in {self._config.paths.checkpoints} was made with other settings "
                f"of sifting than this job has ({error}). Continue with the same values of "
                "scoring and weighting, or give the job another checkpoint location."
            ) from error

    def _needs_own(self, state: dict[str, Any]) -> bool:
        """Whether what each rank had for itself must be given back to it."""
        return bool(state["is_in_epoch"]) or self._sifted is not None

    def _describe_network(self) -> dict[str, Any]:
        hp = self._config.hyperparameters
        return {
            "num_layers": hp.num_layers,
            "image_shape": list(hp.image_shape),
            "classes": list(self._data.classes),
            "optimizer": hp.optimizer,
            "multi_label": int(hp.multi_label),
        }

    def _describe_course(self) -> dict[str, Any]:
        """Return what decides which batches come, and so must stay as it is within an epoch."""
        hp = self._config.hyperparameters
        course = {
            "mini_batch_size": hp.mini_batch_size,
            "seed": hp.seed,
            "augmentation_type": hp.augmentation_type,
            "top_k": hp.top_k,
            "sifting": hp.is_sifting,
            "number of batches of an epoch": len(self._data.train),
        }
        if hp.is_sifting:
            course |= {"scoring": hp.scoring, "weighting": hp.weighting}
        return course

    def _check(self, state: dict[str, Any]) -> None:
        self._compare(state["network"], self._describe_network())
        self._check_version(state)
        if state["is_in_epoch"]:
            self._compare(state["course"], self._describe_course())
        num_saved, num_ranks = len(state["ranks"]), self._trainee.ranks.size
        has_sifting = self._sifted is not None and state["ranks"][0]["sifting"] is not None
        if num_saved != num_ranks and (state["is_in_epoch"] or has_sifting):
            raise TrainingError(
                f"The checkpoint in {self._config.paths.checkpoints} was made by {num_saved} "
                f"training processes, but this job has {num_ranks} (one a GPU). Continue on the "
                "same instance type and count, or give the job another checkpoint location."
            )

    def _check_version(self, state: dict[str, Any]) -> None:
        saved = state["ranks"][0]["sifting"]
        if self._sifted is None or saved is None:
            return
        version, own = saved.get("version"), self._sifted.state_version
        if version != own:
            raise TrainingError(
                f"The checkpoint in {self._config.paths.checkpoints} holds a state of sifting of "
                f"version {version}, but this version of the algorithm reads {own}. Resume the "
                "job with the version that wrote it, or give it another checkpoint location."
            )

    def _compare(self, saved: dict[str, Any], own: dict[str, Any]) -> None:
        for name, value in own.items():
            if saved[name] != value:
                raise TrainingError(
                    f"The checkpoint in {self._config.paths.checkpoints} was made with {name} "
                    f"{saved[name]}, but this job has {value}. Continue with the same value, or "
                    "give the job another checkpoint location."
                )
