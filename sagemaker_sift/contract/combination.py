"""Hyperparameters that do not go together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sagemaker_sift.contract.problem import Problem

Values = Mapping[str, Any]
Rule = Callable[[Values], Iterator[Problem]]


def find_conflicts(values: Values) -> list[Problem]:
    """Return every rule that the values break together.

    Args:
        values: Hyperparameters by name in their Python types. A name whose own value is
            broken is left out, and the rules that need it are passed over.
    """
    problems: list[Problem] = []
    for needed, rule in _RULES:
        if all(name in values and values[name] is not ... for name in needed):
            problems += rule(values)
    return problems


def _check_classes(values: Values) -> Iterator[Problem]:
    if values["num_classes"] < 2 and not values["multi_label"]:
        yield Problem(
            "num_classes",
            f"is {values['num_classes']}, but a classifier needs at least 2 classes. "
            "Only multi_label=1 allows a single one.",
        )


def _check_batch(values: Values) -> Iterator[Problem]:
    batch, samples = values["mini_batch_size"], values["num_training_samples"]
    if batch > samples:
        yield Problem(
            "mini_batch_size",
            f"is {batch}, but num_training_samples is {samples}, so no batch would be full. "
            f"Use {samples} or less.",
        )


def _check_frequency(values: Values) -> Iterator[Problem]:
    frequency, epochs = values["checkpoint_frequency"], values["epochs"]
    if frequency is not None and frequency > epochs:
        yield Problem(
            "checkpoint_frequency",
            f"is {frequency}, but epochs is {epochs}, so nothing would be kept. "
            f"Use {epochs} or less.",
        )


def _check_resize(values: Values) -> Iterator[Problem]:
    resize, shape = values["resize"], values["image_shape"]
    if resize is not None and resize < max(shape[1:]):
        yield Problem(
            "resize",
            f"is {resize}, but image_shape is {shape}, and a smaller image cannot be cropped "
            f"to it. Use {max(shape[1:])} or more.",
        )


def _check_top_k(values: Values) -> Iterator[Problem]:
    top_k, classes = values["top_k"], values["num_classes"]
    if top_k is not None and top_k > classes:
        yield Problem(
            "top_k",
            f"is {top_k}, but num_classes is {classes}. Use {classes} or less, or leave it out.",
        )


def _check_pretrained(values: Values) -> Iterator[Problem]:
    if not values["use_pretrained_model"]:
        return
    if values["num_layers"] not in {18, 34, 50, 101, 152, 200}:
        yield Problem(
            "num_layers",
            f"is {values['num_layers']}, but use_pretrained_model=1 needs one of "
            "18, 34, 50, 101, 152, 200.",
        )
    if tuple(values["image_shape"]) != (3, 224, 224):
        yield Problem(
            "image_shape",
            f"is {values['image_shape']}, but pretrained weights need 3,224,224.",
        )


def _check_sifting(values: Values) -> Iterator[Problem]:
    if values["sifting"] is False and values["beta_value"] is not None:
        yield Problem(
            "sifting",
            f"is False, but beta_value is {values['beta_value']:g}. Leave one of the two out.",
        )


def _check_delay(values: Values) -> Iterator[Problem]:
    is_sifting = values["sifting"] or values["beta_value"] is not None
    if is_sifting and values["repeat_delay_per_epoch"] and values["sift_delay"] is None:
        yield Problem(
            "repeat_delay_per_epoch",
            "is True, but sift_delay is not given, so that the losses say when sifting starts, "
            "once. Give sift_delay too.",
        )


def _check_ranking(values: Values) -> Iterator[Problem]:
    if values["top_k"] is not None and values["multi_label"]:
        yield Problem(
            "top_k",
            f"is {values['top_k']}, but multi_label is 1, and top-k accuracy needs the one class "
            "of an image to rank. Leave one of the two out.",
        )


def _check_adam(values: Values) -> Iterator[Problem]:
    if values["optimizer"] != "adam":
        return
    if values["beta_1"] >= 1:
        yield Problem(
            "beta_1",
            "is 1, but adam divides by 1 - beta_1 ** t, which would be 0. Use less than 1, "
            "such as 0.9.",
        )
    if values["beta_2"] >= 1:
        yield Problem(
            "beta_2",
            "is 1, but adam's steps are in proportion to the root of 1 - beta_2 ** t, so no "
            "weight would move. Use less than 1, such as 0.999.",
        )


def _check_rmsprop(values: Values) -> Iterator[Problem]:
    if values["optimizer"] == "rmsprop" and values["gamma"] >= 1 and values["eps"] <= 0:
        yield Problem(
            "gamma",
            "is 1 and eps is 0, but rmsprop divides by the root of its average plus eps, and "
            "with gamma 1 that average stays 0. Use a smaller gamma or a larger eps.",
        )


_RULES: tuple[tuple[tuple[str, ...], Rule], ...] = (
    (("num_classes", "multi_label"), _check_classes),
    (("mini_batch_size", "num_training_samples"), _check_batch),
    (("checkpoint_frequency", "epochs"), _check_frequency),
    (("resize", "image_shape"), _check_resize),
    (("top_k", "num_classes"), _check_top_k),
    (("use_pretrained_model", "num_layers", "image_shape"), _check_pretrained),
    (("sifting", "beta_value"), _check_sifting),
    (("repeat_delay_per_epoch", "sift_delay", "sifting", "beta_value"), _check_delay),
    (("top_k", "multi_label"), _check_ranking),
    (("optimizer", "beta_1", "beta_2"), _check_adam),
    (("optimizer", "gamma", "eps"), _check_rmsprop),
)
