"""Settings that a job was given but that its other settings leave without effect.

They are no mistakes: the built-in algorithm ignores them too, and a tuning job may vary a setting
that only some of its trials use. The trainer logs each in one line.

Source: "Image classification hyperparameters", SageMaker developer guide.
"""

from __future__ import annotations

from collections.abc import Iterator

from sagemaker_sift.contract.hyperparameter import to_text
from sagemaker_sift.contract.hyperparameters import SPECS, Hyperparameters
from sagemaker_sift.contract.problem import Problem

_OPTIMIZERS_OF = {
    "momentum": ("sgd", "nag"),
    "weight_decay": ("sgd", "nag"),
    "beta_1": ("adam",),
    "beta_2": ("adam",),
    "eps": ("adam", "rmsprop"),
    "gamma": ("rmsprop",),
}
_OF_EARLY_STOPPING = (
    "early_stopping_min_epochs",
    "early_stopping_patience",
    "early_stopping_tolerance",
)
_OF_SIFTING = (
    "loss_history_length",
    "sift_delay",
    "repeat_delay_per_epoch",
    "unsifted_share",
    "scoring",
    "max_score_age",
    "weighting",
    "max_percentile",
    "stop_if_slower",
    "log_batch_data",
)


def find_ignored(hyperparameters: Hyperparameters, *, num_machines: int = 1) -> list[Problem]:
    """Return the settings without effect, each with the reason, in the order of the page.

    A value that equals its default is passed over, even if it was given: it asks for nothing, and
    clients may send every value.

    Args:
        hyperparameters: Of the job.
        num_machines: That train together.

    Example:
        >>> given = {"optimizer": "adam", "momentum": 0.5, "beta_1": 0.8}
        >>> for ignored in find_ignored(
        ...     Hyperparameters(num_classes=2, num_training_samples=99, **given)
        ... ):
        ...     print(ignored)
        `momentum` is 0.5, but optimizer is adam, and only sgd and nag use it.
    """
    hp = hyperparameters
    reasons = {
        **dict(_find_for_optimizer(hp)),
        **dict(_find_for_schedule(hp)),
        **dict(_find_for_early_stopping(hp)),
        **dict(_find_for_sifting(hp)),
    }
    if not hp.multi_label:
        reasons["use_weighted_loss"] = "multi_label is 0"
    if num_machines == 1:
        reasons["kv_store"] = "the job has one machine"
    return [
        Problem(name, f"is {to_text(getattr(hp, name), spec)}, but {reasons[name]}.")
        for name, spec in SPECS.items()
        if name in reasons and getattr(hp, name) != Hyperparameters.model_fields[name].default
    ]


def _find_for_optimizer(hp: Hyperparameters) -> Iterator[tuple[str, str]]:
    for name, optimizers in _OPTIMIZERS_OF.items():
        if hp.optimizer not in optimizers:
            use = "use" if len(optimizers) > 1 else "uses"
            yield (
                name,
                f"optimizer is {hp.optimizer}, and only {' and '.join(optimizers)} {use} it",
            )


def _find_for_schedule(hp: Hyperparameters) -> Iterator[tuple[str, str]]:
    if not hp.lr_scheduler_step:
        yield "lr_scheduler_factor", "lr_scheduler_step is not set"
    late = [str(step) for step in hp.lr_scheduler_step if step >= hp.epochs]
    if late:
        yield "lr_scheduler_step", f"epochs is {hp.epochs}: none begins after {', '.join(late)}"


def _find_for_early_stopping(hp: Hyperparameters) -> Iterator[tuple[str, str]]:
    if not hp.early_stopping:
        for name in _OF_EARLY_STOPPING:
            yield name, "early_stopping is False"
    # The first epoch always improves, and to stop with the last one is not early.
    first = max(hp.early_stopping_min_epochs, hp.early_stopping_patience + 1)
    if first >= hp.epochs:
        yield (
            "early_stopping",
            f"with early_stopping_min_epochs {hp.early_stopping_min_epochs} and "
            f"early_stopping_patience {hp.early_stopping_patience} no job of {hp.epochs} epochs "
            "stops early",
        )


def _find_for_sifting(hp: Hyperparameters) -> Iterator[tuple[str, str]]:
    if not hp.is_sifting:
        for name in _OF_SIFTING:
            yield name, "the job does not sift"
    elif hp.scoring != "last_visit":
        yield "max_score_age", f"scoring is {hp.scoring}, and only last_visit uses it"
