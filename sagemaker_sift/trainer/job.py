"""One training job from the first line of its log to its last file.

In:  a configuration.  Out: ``/opt/ml/model``, ``/opt/ml/output/data``, metric lines.
Next: :mod:`sagemaker_sift.trainer.loop`.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from sagemaker_sift.contract.hyperparameters import Hyperparameters
from sagemaker_sift.contract.metrics import VALIDATION_ACCURACY
from sagemaker_sift.contract.sifting_report import SIFTING_REPORT_NAME
from sagemaker_sift.trainer.artifacts import ModelFolder, SavedEpoch, read_versions
from sagemaker_sift.trainer.checkpoint import CheckpointFolder
from sagemaker_sift.trainer.config import TrainingConfig
from sagemaker_sift.trainer.data.loader import build_generator
from sagemaker_sift.trainer.data.preparation import TrainingData, prepare_data
from sagemaker_sift.trainer.device import choose_device
from sagemaker_sift.trainer.errors import TrainingError
from sagemaker_sift.trainer.loop import RunningMetrics, evaluate, train_epoch
from sagemaker_sift.trainer.model import build_model
from sagemaker_sift.trainer.optimizer import (
    build_optimizer,
    load_optimizer_state,
    set_learning_rate,
)
from sagemaker_sift.trainer.progress import ProgressLog
from sagemaker_sift.trainer.report import EpochReport
from sagemaker_sift.trainer.schedule import EarlyStopping, learning_rate_at
from sagemaker_sift.trainer.sifting import SiftedLoader
from sagemaker_sift.trainer.stop import StopRequest
from sagemaker_sift.trainer.storage import check_writable, write_json

_LOG = logging.getLogger(__name__)


def run_job(
    config: TrainingConfig, *, stop: StopRequest, clock: Callable[[], float] = time.monotonic
) -> None:
    """Run a job to its end: completed, early stopped, or stopped on request.

    Folders are tried first, so that a job that could not save anything does not train at all.

    Args:
        config: The job.
        stop: Looked at between steps.
        clock: Seconds, for speed and time cost.

    Raises:
        TrainingError: If the job's owner must put something right.
    """
    for package, version in read_versions().items():
        _LOG.info("%s %s", package, version)
    _LOG.info("Final configuration: %s", json.dumps(config.hyperparameters.to_strings()))
    if config.hyperparameters.checkpoint_frequency is None:
        _LOG.info("checkpoint_frequency not set, will store the best model")
    check_writable(config.paths.model)
    check_writable(config.paths.output_data)
    device = choose_device(config.num_threads)
    data = prepare_data(config, device=device, is_stopping=stop.is_set)
    job = TrainingJob(config, data, device=device, stop=stop, clock=clock)
    job.resume()
    job.train()
    job.finish()


def build_network(
    hyperparameters: Hyperparameters, *, device: torch.device
) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Return a job's network, with its first weights, and its optimizer.

    Args:
        hyperparameters: Of the job.
        device: Where the network goes.
    """
    hp = hyperparameters
    network = build_model(
        hp.num_layers,
        hp.image_shape,
        hp.num_classes,
        generator=build_generator(hp.seed, "weights"),
    )
    model: nn.Module = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = build_optimizer(
        model,
        learning_rate=hp.learning_rate,
        momentum=hp.momentum,
        weight_decay=hp.weight_decay,
    )
    return model, optimizer


class TrainingJob:
    """The state of a job: network, optimizer, schedule, sifting, and how far it is."""

    def __init__(
        self,
        config: TrainingConfig,
        data: TrainingData,
        *,
        device: torch.device,
        stop: StopRequest,
        clock: Callable[[], float],
    ) -> None:
        hp = config.hyperparameters
        self._config = config
        self._hp = hp
        self._data = data
        self._device = device
        self._stop = stop
        self._clock = clock
        self._model, self._optimizer = build_network(hp, device=device)
        self._early_stopping = EarlyStopping(
            min_epochs=hp.early_stopping_min_epochs,
            patience=hp.early_stopping_patience,
            tolerance=hp.early_stopping_tolerance,
        )
        self._sifted = SiftedLoader(data.train, self._model, hp) if hp.is_sifting else None
        self._progress = ProgressLog(data.train, clock)
        self._model_folder = ModelFolder(
            config.paths.model, classes=data.classes, hyperparameters=hp
        )
        has_checkpoints = config.paths.checkpoints.is_dir()
        self._checkpoints = CheckpointFolder(config.paths.checkpoints) if has_checkpoints else None
        self._num_epochs = 0
        self._is_done = False

    def resume(self) -> None:
        """Go on from the newest whole checkpoint, if there is one.

        Raises:
            TrainingError: If it is another network's, or a folder cannot be written.
        """
        self._model_folder.prepare()
        if self._checkpoints is None:
            return
        self._checkpoints.prepare()
        checkpoint = self._checkpoints.load()
        if checkpoint is None:
            return
        state = checkpoint.state
        self._check_network(state["network"])
        self._model.load_state_dict(state["model"])
        load_optimizer_state(self._optimizer, state["optimizer"])
        self._early_stopping.best = state["early_stopping"]["best"]
        self._early_stopping.num_bad_epochs = state["early_stopping"]["num_bad_epochs"]
        if self._sifted is not None and state["sifting"] is not None:
            self._sifted.load_state_dict(state["sifting"])
        self._checkpoints.restore_model_files(checkpoint, self._config.paths.model)
        self._model_folder.saved = [SavedEpoch(**saved) for saved in state["saved"]]
        self._model_folder.describe()
        self._num_epochs = checkpoint.num_epochs
        self._is_done = bool(state["is_done"])
        _LOG.info("Resuming from a checkpoint after %d epochs", self._num_epochs)

    def train(self) -> None:
        """Train the epochs that are left, or until the job is asked to stop.

        Raises:
            TrainingError: If the loss is not finite, too many images are unreadable, or nothing
                can be saved.
        """
        while self._num_epochs < self._hp.epochs and not self._is_done:
            if self._stop.is_set():
                return
            epoch = self._num_epochs
            began_s = self._clock()
            trained = self._train_epoch(epoch)
            if self._stop.is_set():
                return
            report = EpochReport(epoch, top_k=self._hp.top_k)
            report.log_training(trained, sifted=self._sifted, elapsed_s=self._clock() - began_s)
            if self._data.validation is not None:
                accuracy = evaluate(self._model, self._data.validation, device=self._device)
                if self._stop.is_set():
                    return
                report.log(VALIDATION_ACCURACY, accuracy)
                if self._early_stopping.should_stop(epoch, accuracy):
                    self._is_done = self._hp.early_stopping
            self._model_folder.keep(self._model, epoch=epoch, metrics=report.values)
            self._num_epochs = epoch + 1
            self._save_checkpoint()

    def finish(self) -> None:
        """Leave the model and the totals of sifting, and say how the job ended.

        Raises:
            TrainingError: If they cannot be saved.
        """
        self._model_folder.ensure(self._model, epoch=self._num_epochs)
        if self._sifted is not None:
            report = self._sifted.report().model_dump()
            write_json(self._config.paths.output_data / SIFTING_REPORT_NAME, report)
            _LOG.info("Sifting: %s", json.dumps(report))
        best = self._model_folder.best
        saved = best.file if best else "nothing"
        if self._stop.is_set():
            how = f"Stopped on {self._stop.signal_name} after {self._num_epochs} full epochs"
        elif self._is_done:
            how = f"Stopped early after {self._num_epochs} epochs"
        else:
            how = f"Completed {self._num_epochs} epochs"
        _LOG.info("%s; the model is %s", how, saved)

    def _train_epoch(self, epoch: int) -> RunningMetrics:
        hp = self._hp
        rate = learning_rate_at(
            epoch,
            initial=hp.learning_rate,
            factor=hp.lr_scheduler_factor,
            steps=hp.lr_scheduler_step,
        )
        set_learning_rate(self._optimizer, rate)
        self._data.train.set_epoch(epoch)
        self._progress.start_epoch(epoch)
        return train_epoch(
            self._model,
            self._sifted if self._sifted is not None else self._data.train,
            self._optimizer,
            epoch=epoch,
            batch_size=hp.mini_batch_size,
            device=self._device,
            top_k=hp.top_k,
            is_stopping=self._stop.is_set,
            after_step=self._progress.after_step,
        )

    def _save_checkpoint(self) -> None:
        if self._checkpoints is None:
            return
        saved = self._model_folder.saved
        self._checkpoints.save(
            self._num_epochs,
            {
                "network": self._describe_network(),
                "model": dict(self._model.state_dict()),
                "optimizer": self._optimizer.state_dict(),
                "early_stopping": {
                    "best": self._early_stopping.best,
                    "num_bad_epochs": self._early_stopping.num_bad_epochs,
                },
                "sifting": None if self._sifted is None else self._sifted.state_dict(),
                "saved": [asdict(epoch) for epoch in saved],
                "is_done": self._is_done,
            },
            model_folder=self._config.paths.model,
            files=tuple(epoch.file for epoch in saved),
        )

    def _describe_network(self) -> dict[str, Any]:
        return {
            "num_layers": self._hp.num_layers,
            "image_shape": list(self._hp.image_shape),
            "classes": list(self._data.classes),
        }

    def _check_network(self, saved: dict[str, Any]) -> None:
        for name, value in self._describe_network().items():
            if saved[name] != value:
                raise TrainingError(
                    f"The checkpoint in {self._config.paths.checkpoints} was made with {name} "
                    f"{saved[name]}, but this job has {value}. Continue with the same value, or "
                    "give the job another checkpoint location."
                )
