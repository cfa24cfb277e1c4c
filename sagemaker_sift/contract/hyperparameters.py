"""Every hyperparameter of the algorithm.

Those of SageMaker's built-in image classification algorithm stand under their own names, with
their ranges and defaults; those of sifting follow.

Source: "Image classification hyperparameters" and "Tune an image classification model",
SageMaker developer guide. The names and ranges of sifting follow the configuration classes of
the smart sifting library ("SageMaker smart sifting Python SDK reference").
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, model_validator

from sagemaker_sift.contract.combination import find_conflicts
from sagemaker_sift.contract.hyperparameter import (
    HyperparameterSpec,
    ImageShape,
    boolean,
    choice,
    epochs_list,
    flag,
    image_shape_of,
    integer,
    number,
    to_text,
)
from sagemaker_sift.contract.problem import ContractError, Problem, closest

SMALL_IMAGE_DEPTHS = (20, 32, 44, 56, 110)
"""Depths of the three-stage networks for images such as 28 x 28 (CIFAR)."""

LARGE_IMAGE_DEPTHS = (18, 34, 50, 101, 152, 200)
"""Depths of the four-stage networks for images such as 224 x 224 (ImageNet)."""

DEFAULT_BETA = 1.0
"""The beta in force when sifting is on and ``beta_value`` is not given: keeps one half."""

_DEPTHS = tuple(str(depth) for depth in (*LARGE_IMAGE_DEPTHS, *SMALL_IMAGE_DEPTHS))


class Hyperparameters(BaseModel):
    """The hyperparameters of one training job, checked.

    Build it from Python values or from the strings of ``hyperparameters.json``; everything
    that is wrong is reported at once.

    Raises:
        ContractError: With every unknown name, wrong type, value out of range and impossible
            combination.

    Example:
        >>> required = {"num_classes": "10", "num_training_samples": "1437"}
        >>> given = required | {"lr_scheduler_step": "10, 20"}
        >>> Hyperparameters.from_strings(given).lr_scheduler_step
        (10, 20)
        >>> Hyperparameters(num_classes=10, num_training_samples=0, bta_value=1)
        Traceback (most recent call last):
        sagemaker_sift.contract.problem.ContractError: `num_training_samples` is 0, but must be ...
        `bta_value` is not a hyperparameter of this algorithm. Did you mean 'beta_value'?
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    num_classes: Annotated[int, integer("Number of output classes.", low=1)]
    num_training_samples: Annotated[
        int,
        integer(
            "Number of training images; an epoch is as many full batches as fit into it.",
            low=1,
            unit="images",
        ),
    ]
    augmentation_type: Annotated[
        str | None,
        choice(
            "Random crop and horizontal flip; with shifts of hue, saturation and "
            "lightness; with rotation, shear and change of aspect. Unset: centre crop, "
            "no flip.",
            choices=("crop", "crop_color", "crop_color_transform"),
        ),
    ] = None
    beta_1: Annotated[float, number("beta1 of adam.", low=0, high=1, is_tunable=True)] = 0.9
    beta_2: Annotated[float, number("beta2 of adam.", low=0, high=1, is_tunable=True)] = 0.999
    checkpoint_frequency: Annotated[
        int | None,
        integer(
            "Keep the model of every so many epochs. Unset: the epoch with the best "
            "validation accuracy.",
            low=1,
            unit="epochs",
        ),
    ] = None
    early_stopping: Annotated[
        bool, boolean("Stop when validation accuracy no longer improves.")
    ] = False
    early_stopping_min_epochs: Annotated[
        int, integer("Epochs before an early stop.", low=1, unit="epochs")
    ] = 10
    early_stopping_patience: Annotated[
        int, integer("Epochs to wait for an improvement.", low=1, unit="epochs")
    ] = 5
    early_stopping_tolerance: Annotated[
        float,
        number(
            "Improvement over the best accuracy so far, relative to it, below which "
            "there is none.",
            low=0,
            high=1,
        ),
    ] = 0.0
    epochs: Annotated[int, integer("Number of training epochs.", low=1)] = 30
    eps: Annotated[
        float, number("Epsilon of adam and rmsprop.", low=0, high=1, is_tunable=True)
    ] = 1e-08
    gamma: Annotated[
        float, number("Decay of rmsprop's average.", low=0, high=1, is_tunable=True)
    ] = 0.9
    image_shape: Annotated[
        ImageShape,
        image_shape_of(
            "Channels, height and width of the network's input. Larger images are "
            "cropped; a smaller one fails the job."
        ),
    ] = ImageShape(3, 224, 224)
    kv_store: Annotated[
        str | None,
        choice("How several machines synchronise weights.", choices=("dist_sync", "dist_async")),
    ] = None
    learning_rate: Annotated[
        float, number("Initial learning rate.", low=0, high=1, is_tunable=True)
    ] = 0.1
    lr_scheduler_factor: Annotated[
        float,
        number("Factor on the learning rate at each epoch of lr_scheduler_step.", low=0, high=1),
    ] = 0.1
    lr_scheduler_step: Annotated[
        tuple[int, ...], epochs_list("Epochs after which the learning rate drops.", unit="epochs")
    ] = ()
    mini_batch_size: Annotated[
        int, integer("Batch size.", low=1, unit="images", is_tunable=True)
    ] = 32
    momentum: Annotated[
        float, number("Momentum of sgd and nag.", low=0, high=1, is_tunable=True)
    ] = 0.9
    multi_label: Annotated[bool, flag("Whether an image may belong to several classes.")] = False
    num_layers: Annotated[
        int,
        integer(
            "Depth of the ResNet: 18 to 200 for images such as 224 x 224, 20 to 110 for "
            "images such as 28 x 28.",
            choices=_DEPTHS,
        ),
    ] = 152
    optimizer: Annotated[
        str, choice("Optimizer.", choices=("sgd", "adam", "rmsprop", "nag"), is_tunable=True)
    ] = "sgd"
    precision_dtype: Annotated[
        str,
        choice("Precision of the computation.", choices=("float32", "float16", "bfloat16")),
    ] = "float32"
    resize: Annotated[
        int | None,
        integer(
            "Shorter side of an image after resizing, before the crop. Unset: as it is.",
            low=1,
            unit="pixels",
        ),
    ] = None
    top_k: Annotated[int | None, integer("Also report top-k training accuracy.", low=2)] = None
    use_pretrained_model: Annotated[
        bool, flag("Start from pretrained weights; only the classifier is new.")
    ] = False
    use_weighted_loss: Annotated[
        bool, flag("Weight classes by their frequency; multi_label=1 only.")
    ] = False
    weight_decay: Annotated[
        float, number("Weight decay of sgd and nag.", low=0, high=1, is_tunable=True)
    ] = 0.0001
    sifting: Annotated[
        bool | None, boolean("Whether to sift. Unset: if beta_value is given.", is_builtin=False)
    ] = None
    beta_value: Annotated[
        float | None,
        number(
            "Selectivity: a sample is kept with probability percentile(loss) ** "
            "beta_value, so 1 / (1 + beta_value) of the samples are. Useful: 0.1 to 10.",
            low=1e-6,
            high=1e6,
            is_tunable=True,
            is_builtin=False,
        ),
    ] = None
    loss_history_length: Annotated[
        int,
        integer(
            "Recent losses among which a loss is ranked.",
            low=1,
            high=10000000,
            unit="losses",
            is_tunable=True,
            is_builtin=False,
        ),
    ] = 500
    sift_delay: Annotated[
        int | None,
        integer(
            "Batches that pass unsifted before sifting starts. Unset: until the samples that "
            "would be dropped carry at most a tenth of the loss; a training that never gets "
            "there is not sifted.",
            low=0,
            high=1000000000,
            unit="steps",
            is_tunable=True,
            is_builtin=False,
        ),
    ] = None
    repeat_delay_per_epoch: Annotated[
        bool, boolean("Whether every epoch has that delay.", is_builtin=False)
    ] = False
    unsifted_share: Annotated[
        float,
        number(
            "Share of the epochs, at the end, that pass unsifted, in whole epochs.",
            low=0,
            high=0.99,
            is_builtin=False,
        ),
    ] = 0.0
    scoring: Annotated[
        str,
        choice(
            "Where losses come from: a low-precision copy of the network (fresh), the training "
            "step of the image's last visit (last_visit), or the network itself (plain).",
            choices=("fresh", "last_visit", "plain"),
            is_builtin=False,
        ),
    ] = "fresh"
    max_score_age: Annotated[
        int,
        integer(
            "How old a loss may be with scoring=last_visit before the image is scored fresh.",
            low=1,
            high=1000000,
            unit="epochs",
            is_builtin=False,
        ),
    ] = 3
    weighting: Annotated[
        str,
        choice(
            "Whether kept images weigh the less the likelier they were kept.",
            choices=("none", "inverse"),
            is_builtin=False,
        ),
    ] = "none"
    max_percentile: Annotated[
        float,
        number(
            "Images whose loss is above this percentile are dropped, against noisy labels.",
            low=0.01,
            high=1,
            is_builtin=False,
        ),
    ] = 1.0
    stop_if_slower: Annotated[
        bool, boolean("Whether sifting ends when measured to save below 3 %.", is_builtin=False)
    ] = True
    log_batch_data: Annotated[
        bool,
        boolean(
            "Whether to log the content of kept and dropped samples (pilot jobs only).",
            is_builtin=False,
        ),
    ] = False
    seed: Annotated[
        int,
        integer(
            "Seed of weights, order, augmentation and sifting.",
            low=0,
            high=2**31 - 1,
            is_builtin=False,
        ),
    ] = 0
    max_corrupt_fraction: Annotated[
        float,
        number(
            "Share of unreadable images that are skipped; more fail the job.",
            low=0,
            high=1,
            is_builtin=False,
        ),
    ] = 0.01

    @model_validator(mode="before")
    @classmethod
    def _read(cls, given: Any) -> dict[str, Any]:
        """Read every value by its rule, then look for impossible combinations."""
        values, problems = read_values(given)
        problems += [
            Problem(name, f"is required, but missing. It must be {spec.describe_range()}.")
            for name, spec in SPECS.items()
            if spec.is_required and name not in given
        ]
        broken = {problem.path for problem in problems}
        complete = {
            name: field.default for name, field in cls.model_fields.items() if name not in broken
        } | values
        problems += find_conflicts(complete)
        if problems:
            raise ContractError(problems)
        return values

    @classmethod
    def from_strings(cls, given: Mapping[str, str]) -> Hyperparameters:
        """Return the hyperparameters of ``hyperparameters.json``.

        Args:
            given: Names to strings; an empty string stands for "not given". What begins with an
                underscore is the service's own, such as ``_tuning_objective_metric`` in the
                training jobs of a tuning job, and is passed over.

        Raises:
            ContractError: With everything that is wrong.
        """
        return cls(
            **{
                name: text
                for name, text in given.items()
                if str(text).strip() != "" and not name.startswith("_")
            }
        )

    def to_strings(self) -> dict[str, str]:
        """Return the hyperparameters that differ from "not given", as SageMaker carries them.

        Example:
            >>> Hyperparameters(num_classes=2, num_training_samples=9, mini_batch_size=3,
            ...     top_k=2).to_strings()["image_shape"]
            '3,224,224'
        """
        return {
            name: to_text(getattr(self, name), spec)
            for name, spec in SPECS.items()
            if getattr(self, name) not in {None, ()}
        }

    @property
    def is_sifting(self) -> bool:
        """Whether this job sifts: as ``sifting`` says, else if ``beta_value`` is given."""
        return self.beta_value is not None if self.sifting is None else self.sifting

    @property
    def beta(self) -> float:
        """The beta in force when the job sifts."""
        return DEFAULT_BETA if self.beta_value is None else self.beta_value


def read_values(given: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Return the readable values in their Python types, and what is wrong with the others.

    Unlike building :class:`Hyperparameters` this does not ask for completeness: a job may be
    described step by step.

    Example:
        >>> read_values({"epochs": "3"})
        ({'epochs': 3}, [])
    """
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, value in given.items():
        spec = SPECS.get(name)
        if spec is None:
            hint = closest(name, SPECS)
            problems.append(Problem(name, f"is not a hyperparameter of this algorithm.{hint}"))
            continue
        if value is None and not spec.is_required:
            continue
        try:
            values[name] = spec.read(value)
        except ValueError as error:
            problems.append(Problem(name, str(error)))
    return values, problems


def _collect_specs() -> dict[str, HyperparameterSpec]:
    return {
        name: dataclasses.replace(entry, is_required=field.is_required())
        for name, field in Hyperparameters.model_fields.items()
        for entry in field.metadata
        if isinstance(entry, HyperparameterSpec)
    }


SPECS: dict[str, HyperparameterSpec] = _collect_specs()
"""Every hyperparameter by name, in the order of the page."""
