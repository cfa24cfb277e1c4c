"""One training job from the first line of its log to its last file.

In:  a configuration.  Out: ``/opt/ml/model``, ``/opt/ml/output/data``, metric lines.
Next: :mod:`sagemaker_sift.trainer.loop`.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import torch

from sagemaker_sift.contract.ignored import find_ignored
from sagemaker_sift.contract.metrics import VALIDATION_ACCURACY
from sagemaker_sift.contract.sifting_report import SIFTING_REPORT_NAME
from sagemaker_sift.trainer.artifacts import ModelFolder, SavedEpoch, read_versions
from sagemaker_sift.trainer.checkpoint import Checkpoint, CheckpointFolder
from sagemaker_sift.trainer.config import TrainingConfig
from sagemaker_sift.trainer.data.preparation import TrainingData, check_alike, prepare_data
from sagemaker_sift.trainer.device import choose_device
from sagemaker_sift.trainer.initial_weights import check_channels, read_initial_weights
from sagemaker_sift.trainer.loop import check_weights, evaluate, train_epoch
from sagemaker_sift.trainer.memory import memory_explained
from sagemaker_sift.trainer.optimizer import set_learning_rate
from sagemaker_sift.trainer.progress import ProgressLog
from sagemaker_sift.trainer.ranks import Ranks, joined
from sagemaker_sift.trainer.report import EpochReport
from sagemaker_sift.trainer.running_metrics import RunningMetrics
from sagemaker_sift.trainer.schedule import EarlyStopping, learning_rate_at
from sagemaker_sift.trainer.sifting import SiftedLoader
from sagemaker_sift.trainer.snapshot import Snapshot
from sagemaker_sift.trainer.stop import EpochInterrupted, JoinInterrupted, StopRequest
from sagemaker_sift.trainer.storage import check_writable, write_json
from sagemaker_sift.trainer.trainee import Trainee, build_trainee

SAVE_EVERY_S = 600.0
"""A checkpoint within an epoch at least every so many seconds, if the job has checkpoints."""

_LOG = logging.getLogger(__name__)


def run_job(
    config: TrainingConfig, *, stop: StopRequest, clock: Callable[[], float] = time.monotonic
) -> None:
    """Run a job, or this process's part of it, to its end: completed, early stopped, or stopped.

    Folders are tried first, so that a job that could not save anything does not train at all.

    Args:
        config: The job.
        stop: Looked at between steps.
        clock: Seconds, for speed and time cost.

    Raises:
        TrainingError: If the job's owner must put something right.
    """
    hp = config.hyperparameters
    if config.placement.rank == 0:
        check_writable(config.paths.model)
        check_writable(config.paths.output_data)
    _log_start(config)
    check_channels(config)
    device = choose_device(config.num_threads, local_rank=config.placement.local_rank)
    backend = "nccl" if device.type == "cuda" else "gloo"
    with memory_explained(hp, device):
        data = prepare_data(config, device=device, is_stopping=stop.is_set)
        initial_weights = read_initial_weights(config, data.classes)
        with (
            _join_logged(),
            joined(config.placement, backend=backend, is_stopping=stop.is_set) as ranks,
        ):
            [is_stopped] = ranks.any_of([stop.is_set()])
            if not is_stopped:
                check_alike(data, ranks)
            trainee = build_trainee(
                hp,
                device=device,
                ranks=ranks,
                num_hosts=config.placement.num_hosts,
                label_counts=data.label_counts,
                initial_weights=initial_weights,
            )
            del initial_weights
            job = TrainingJob(config, data, trainee, stop=stop, clock=clock)
            job.resume(is_stopped=is_stopped)
            job.train()
            job.finish()


@contextmanager
def _join_logged() -> Iterator[None]:
    """Let a job that is stopped while its processes wait for each other end well."""
    try:
        yield
    except JoinInterrupted:
        _LOG.info("Stopped before training: not all processes of the job were there")


def _log_start(config: TrainingConfig) -> None:
    hp = config.hyperparameters
    for package, version in read_versions().items():
        _LOG.info("%s %s", package, version)
    _LOG.info("Final configuration: %s", json.dumps(hp.to_strings()))
    for ignored in find_ignored(hp, num_machines=config.placement.num_hosts):
        _LOG.info("No effect: %s", ignored)
    if config.placement.num_ranks > 1:
        _LOG.info(
            "%d processes on %d machines, batches of %d images in all",
            config.placement.num_ranks,
            config.placement.num_hosts,
            hp.mini_batch_size * config.placement.num_hosts,
        )
        if hp.kv_store == "dist_async":
            _LOG.warning(
                "kv_store is dist_async, but this algorithm always synchronises: it trains as "
                "with dist_sync."
            )
    if hp.checkpoint_frequency is None:
        _LOG.info("checkpoint_frequency not set, will store the best model")


class TrainingJob:
    """The state of a job: what it trains, its schedule, and how far it is."""

    def __init__(
        self,
        config: TrainingConfig,
        data: TrainingData,
        trainee: Trainee,
        *,
        stop: StopRequest,
        clock: Callable[[], float],
    ) -> None:
        hp = config.hyperparameters
        self._config = config
        self._hp = hp
        self._data = data
        self._trainee = trainee
        self._ranks: Ranks = trainee.ranks
        self._stop = stop
        self._clock = clock
        self._early_stopping = EarlyStopping(
            min_epochs=hp.early_stopping_min_epochs,
            patience=hp.early_stopping_patience,
            tolerance=hp.early_stopping_tolerance,
        )
        self._sifted = SiftedLoader(data.train, trainee, hp) if hp.is_sifting else None
        self._snapshot = Snapshot(config, trainee, data, self._sifted)
        self._progress = ProgressLog(data.train, clock)
        self._model_folder = ModelFolder(
            config.paths.model, classes=data.classes, hyperparameters=hp
        )
        has_checkpoints = self._ranks.share(config.paths.checkpoints.exists())
        self._checkpoints = CheckpointFolder(config.paths.checkpoints) if has_checkpoints else None
        self._metrics = self._new_metrics()
        self._num_epochs = 0
        self._is_in_epoch = False
        self._is_trained = False
        self._is_done = False
        self._is_stopped = False
        self._elapsed_before_s = 0.0
        self._began_s = 0.0
        self._saved_s = clock()

    def resume(self, *, is_stopped: bool = False) -> None:
        """Go on from the newest whole checkpoint, if there is one.

        Args:
            is_stopped: Whether the job was asked to stop already. Then only weights and model
                files are taken: its images may not have been read to the end.

        Raises:
            TrainingError: If it is another network's, or a folder cannot be written.
        """
        checkpoint: Checkpoint | None = None
        if self._ranks.is_first:
            self._model_folder.prepare()
            if self._checkpoints is not None:
                self._checkpoints.prepare()
                checkpoint = self._checkpoints.load()
        state = self._ranks.share(checkpoint.state if checkpoint else None)
        self._is_stopped = is_stopped
        if state is None:
            return
        self._metrics = self._new_metrics()
        if is_stopped:
            self._snapshot.restore_weights(state["training"])
        else:
            self._is_in_epoch = self._snapshot.restore(state["training"], self._metrics)
        self._is_trained = bool(state["training"]["is_trained"])
        self._early_stopping.best = state["early_stopping"]["best"]
        self._early_stopping.num_bad_epochs = state["early_stopping"]["num_bad_epochs"]
        self._elapsed_before_s = float(state["elapsed_s"])
        self._num_epochs = int(state["num_epochs"])
        self._is_done = bool(state["is_done"]) and self._hp.early_stopping
        if checkpoint is not None and self._checkpoints is not None:
            self._checkpoints.restore_model_files(checkpoint, self._config.paths.model)
            self._model_folder.saved = [SavedEpoch(**saved) for saved in state["saved"]]
            self._model_folder.describe()
            within = f" and {checkpoint.position[1]} batches" if self._is_in_epoch else ""
            _LOG.info("Resuming from a checkpoint after %d epochs%s", self._num_epochs, within)

    def train(self) -> None:
        """Train the epochs that are left, or until the job is asked to stop.

        Raises:
            TrainingError: If the loss is not finite, too many images are unreadable, or nothing
                can be saved.
        """
        while self._num_epochs < self._hp.epochs and not (self._is_done or self._is_stopped):
            [self._is_stopped] = self._ranks.any_of([self._stop.is_set()])
            if self._is_stopped or not self._train_epoch(self._num_epochs):
                return
            report = self._report_epoch(self._num_epochs)
            if self._data.validation is not None:
                accuracy = evaluate(
                    self._trainee, self._data.validation, is_stopping=self._agree_to_stop
                )
                if accuracy is None:
                    self._is_stopped = True
                    self._save_checkpoint()
                    return
                self._data.validation.ledger.settle(self._ranks)
                report.log(VALIDATION_ACCURACY, accuracy)
                if self._early_stopping.should_stop(self._num_epochs, accuracy):
                    self._is_done = self._hp.early_stopping
            if self._ranks.is_first:
                self._model_folder.keep(
                    self._trainee.network, epoch=self._num_epochs, metrics=report.values
                )
            self._end_epoch()
            self._save_checkpoint()

    def finish(self) -> None:
        """Leave the model and the totals of sifting, and say how the job ended.

        Raises:
            TrainingError: If they cannot be saved.
        """
        report = self._sifted.report() if self._sifted is not None else None
        if not self._ranks.is_first:
            return
        self._model_folder.ensure(self._trainee.network, epoch=self._num_epochs)
        if report is not None:
            totals = report.model_dump()
            write_json(self._config.paths.output_data / SIFTING_REPORT_NAME, totals)
            _LOG.info("Sifting: %s", json.dumps(totals))
        for loader in (self._data.train, self._data.validation):
            if loader is not None:
                loader.ledger.report()
        best = self._model_folder.best
        saved = best.file if best else "nothing"
        if self._is_stopped:
            signal_name = self._stop.signal_name or "a stop of another process"
            how = f"Stopped on {signal_name} after {self._num_epochs} full epochs"
        elif self._is_done:
            how = f"Stopped early after {self._num_epochs} epochs"
        else:
            how = f"Completed {self._num_epochs} epochs"
        _LOG.info("%s; the model is %s", how, saved)

    def _new_metrics(self) -> RunningMetrics:
        trainee = self._trainee
        return RunningMetrics(trainee.objective, device=trainee.device, top_k=self._hp.top_k)

    def _train_epoch(self, epoch: int) -> bool:
        """Train an epoch, or what is left of it; return whether it came to its end."""
        hp = self._hp
        rate = learning_rate_at(
            epoch,
            initial=hp.learning_rate,
            factor=hp.lr_scheduler_factor,
            steps=hp.lr_scheduler_step,
        )
        set_learning_rate(self._trainee.optimizer, rate)
        self._data.train.set_epoch(epoch)
        self._began_s = self._clock()
        if self._is_trained:
            return True
        self._progress.start_epoch(epoch, is_resumed=self._is_in_epoch)
        self._is_in_epoch = True
        try:
            is_complete = train_epoch(
                self._trainee,
                self._sifted if self._sifted is not None else self._data.train,
                self._metrics,
                epoch=epoch,
                after_step=self._after_step,
                feedback=self._sifted,
            )
        except EpochInterrupted:
            self._is_stopped = True
            if not self._ranks.are_many:
                self._save_checkpoint()
            return False
        if is_complete:
            check_weights(self._trainee, epoch)
            self._trainee.ranks.average_(self._trainee.statistics)
            self._data.train.ledger.settle(self._ranks)
            if self._sifted is not None:
                self._sifted.log_status()
            self._is_trained = True
        return is_complete

    def _after_step(self, metrics: RunningMetrics) -> bool:
        if self._ranks.is_first:
            self._progress.after_step(metrics)
        is_due = self._checkpoints is not None and self._clock() - self._saved_s >= SAVE_EVERY_S
        if is_due:
            self._saved_s = self._clock()  # with several ranks the wish is granted a step later
        self._is_stopped, saves = self._ranks.exchange([self._stop.is_set(), is_due])
        if self._is_stopped or saves:
            self._save_checkpoint()
        return self._is_stopped

    def _agree_to_stop(self) -> bool:
        [self._is_stopped, _] = self._ranks.exchange([self._stop.is_set(), False])
        return self._is_stopped

    def _report_epoch(self, epoch: int) -> EpochReport:
        report = EpochReport(epoch, top_k=self._hp.top_k)
        sifted = None
        if self._sifted is not None:
            own = torch.tensor([self._sifted.num_seen, self._sifted.num_kept])
            seen, kept = self._ranks.add_up(own).tolist()
            sifted = (seen, kept)
        report.log_training(
            self._metrics.over(self._ranks), sifted=sifted, elapsed_s=self._elapsed_s()
        )
        return report

    def _elapsed_s(self) -> float:
        """Return the seconds that the epoch has trained, those before an interruption included."""
        return self._elapsed_before_s + self._clock() - self._began_s

    def _end_epoch(self) -> None:
        self._num_epochs += 1
        self._is_in_epoch = False
        self._is_trained = False
        self._elapsed_before_s = 0.0
        self._metrics = self._new_metrics()

    def _save_checkpoint(self) -> None:
        """Save how far the job is; all ranks call it after the same step."""
        self._saved_s = self._clock()
        if self._checkpoints is None:
            return
        check_weights(self._trainee, self._num_epochs)
        metrics = self._metrics if self._is_in_epoch else None
        training = self._snapshot.capture(metrics, is_trained=self._is_trained)
        if training is None:
            return
        saved = self._model_folder.saved
        state: dict[str, Any] = {
            "num_epochs": self._num_epochs,
            "training": training,
            "early_stopping": {
                "best": self._early_stopping.best,
                "num_bad_epochs": self._early_stopping.num_bad_epochs,
            },
            "elapsed_s": self._elapsed_s() if self._is_in_epoch else 0.0,
            "saved": [asdict(epoch) for epoch in saved],
            "is_done": self._is_done,
        }
        num_batches = max(1, self._data.train.num_batches_seen) if self._is_in_epoch else 0
        self._checkpoints.save(
            (self._num_epochs, num_batches),
            state,
            model_folder=self._config.paths.model,
            files=tuple(epoch.file for epoch in saved),
        )
