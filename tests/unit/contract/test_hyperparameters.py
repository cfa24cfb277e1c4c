from __future__ import annotations

from typing import Any

import pytest

from sagemaker_sift.contract.hyperparameters import SPECS, Hyperparameters
from sagemaker_sift.contract.problem import ContractError

REQUIRED = {"num_classes": "10", "num_training_samples": "1000"}

BUILTIN_DEFAULTS: dict[str, Any] = {
    "augmentation_type": None,
    "beta_1": 0.9,
    "beta_2": 0.999,
    "checkpoint_frequency": None,
    "early_stopping": False,
    "early_stopping_min_epochs": 10,
    "early_stopping_patience": 5,
    "early_stopping_tolerance": 0.0,
    "epochs": 30,
    "eps": 1e-8,
    "gamma": 0.9,
    "image_shape": (3, 224, 224),
    "kv_store": None,
    "learning_rate": 0.1,
    "lr_scheduler_factor": 0.1,
    "lr_scheduler_step": (),
    "mini_batch_size": 32,
    "momentum": 0.9,
    "multi_label": False,
    "num_layers": 152,
    "optimizer": "sgd",
    "precision_dtype": "float32",
    "resize": None,
    "top_k": None,
    "use_pretrained_model": False,
    "use_weighted_loss": False,
    "weight_decay": 0.0001,
}
TUNABLE_BUILTIN = {
    "beta_1",
    "beta_2",
    "eps",
    "gamma",
    "learning_rate",
    "mini_batch_size",
    "momentum",
    "optimizer",
    "weight_decay",
}


def problems_of(**changes: Any) -> dict[str, str]:
    with pytest.raises(ContractError) as caught:
        Hyperparameters.from_strings(REQUIRED | changes)
    return {problem.path: problem.message for problem in caught.value.problems}


def test_the_29_hyperparameters_of_the_builtin_have_the_published_defaults() -> None:
    builtin = {name for name, spec in SPECS.items() if spec.is_builtin}
    assert builtin == set(BUILTIN_DEFAULTS) | set(REQUIRED)
    assert len(builtin) == 29
    read = Hyperparameters.from_strings(REQUIRED)
    assert {name: getattr(read, name) for name in BUILTIN_DEFAULTS} == BUILTIN_DEFAULTS


def test_only_the_documented_builtin_hyperparameters_are_tunable() -> None:
    tunable = {name for name, spec in SPECS.items() if spec.is_builtin and spec.is_tunable}
    assert tunable == TUNABLE_BUILTIN


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("lr_scheduler_step", "10, 20", (10, 20)),
        ("lr_scheduler_step", "20,10", (10, 20)),
        ("image_shape", " 3, 28 ,28", (3, 28, 28)),
        ("early_stopping", "True", True),
        ("early_stopping", "false", False),
        ("use_weighted_loss", "1", True),
        ("epochs", "12", 12),
        ("epochs", "12.0", 12),
        ("learning_rate", "1e-3", 0.001),
        ("num_layers", "110", 110),
        ("beta_value", "0.5", 0.5),
    ],
)
def test_strings_are_read_as_sagemaker_sends_them(name: str, text: str, value: object) -> None:
    assert getattr(Hyperparameters.from_strings(REQUIRED | {name: text}), name) == value


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("epochs", "0", "must be an integer, 1 or more"),
        ("epochs", "3.7", "must be an integer"),
        ("epochs", "ten", "'ten'"),
        ("epochs", "1_000", "must be an integer"),
        ("learning_rate", "1.5", "from 0 to 1"),
        ("learning_rate", "nan", "a number from 0 to 1"),
        ("learning_rate", "inf", "a number from 0 to 1"),
        ("momentum", "-0.1", "from 0 to 1"),
        ("image_shape", "3,224", "channels,height,width"),
        ("image_shape", "2,28,28", "1 or 3 channels"),
        ("image_shape", "3,0,28", "height and width"),
        ("lr_scheduler_step", "10;20", "separated by commas"),
        ("lr_scheduler_step", "0", "separated by commas"),
        ("num_layers", "21", "one of 18, 34"),
        ("optimizer", "adamm", "Did you mean 'adam'?"),
        ("early_stopping", "maybe", "one of True, False"),
        ("top_k", "1", "2 or more"),
        ("beta_value", "0", "a number from 1e-06"),
        ("loss_history_length", "0", "from 1"),
        ("seed", "-1", "from 0"),
    ],
)
def test_a_value_that_breaks_its_rule_is_named_with_the_rule(
    name: str, text: str, says: str
) -> None:
    found = problems_of(**{name: text})
    assert set(found) == {name}
    assert says in found[name]


@pytest.mark.parametrize(
    ("changes", "blamed", "says"),
    [
        ({"num_classes": "1"}, "num_classes", "at least 2 classes"),
        ({"mini_batch_size": "1001"}, "mini_batch_size", "Use 1000 or less"),
        ({"checkpoint_frequency": "4", "epochs": "3"}, "checkpoint_frequency", "Use 3 or less"),
        ({"resize": "200"}, "resize", "Use 224 or more"),
        ({"top_k": "11"}, "top_k", "Use 10 or less"),
        ({"sifting": "False", "beta_value": "1"}, "sifting", "Leave one of the two out"),
        ({"top_k": "2", "multi_label": "1"}, "top_k", "Leave one of the two out"),
        ({"optimizer": "adam", "beta_1": "1"}, "beta_1", "Use less than 1"),
        ({"optimizer": "adam", "beta_2": "1.0"}, "beta_2", "no weight would move"),
        ({"optimizer": "rmsprop", "gamma": "1", "eps": "0"}, "gamma", "Use a smaller gamma"),
    ],
)
def test_an_impossible_combination_is_refused(
    changes: dict[str, str], blamed: str, says: str
) -> None:
    found = problems_of(**changes)
    assert set(found) == {blamed}
    assert says in found[blamed]


def test_pretrained_weights_need_their_depth_and_shape() -> None:
    found = problems_of(use_pretrained_model="1", num_layers="20", image_shape="3,28,28")
    assert set(found) == {"num_layers", "image_shape"}


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "adam", "beta_1": "0", "beta_2": "0", "eps": "0"},
        {"optimizer": "rmsprop", "gamma": "1"},
        {"optimizer": "rmsprop", "gamma": "0", "eps": "0"},
        {"optimizer": "nag", "momentum": "1", "weight_decay": "1", "learning_rate": "1"},
        {"optimizer": "sgd", "beta_1": "1", "beta_2": "1", "gamma": "1", "eps": "0"},
        {"learning_rate": "0", "momentum": "0", "lr_scheduler_step": "2", "epochs": "3"},
        {"lr_scheduler_factor": "0", "lr_scheduler_step": "40"},
        {"augmentation_type": "crop_color_transform", "precision_dtype": "float16"},
        {"kv_store": "dist_sync"},
        {"kv_store": "dist_async"},
        {"multi_label": "1", "use_weighted_loss": "1"},
        {"multi_label": "1", "num_classes": "1"},
        {"use_weighted_loss": "1"},
        {"use_pretrained_model": "1", "num_layers": "18"},
        {"early_stopping": "True", "early_stopping_min_epochs": "50"},
        {"top_k": "10"},
        {"checkpoint_frequency": "30"},
    ],
    ids=str,
)
def test_whatever_the_page_allows_is_accepted(changes: dict[str, str]) -> None:
    read = Hyperparameters.from_strings(REQUIRED | changes)
    assert read == Hyperparameters.from_strings(read.to_strings())


def test_resize_may_equal_the_larger_side_of_the_image_shape() -> None:
    assert Hyperparameters.from_strings(REQUIRED | {"resize": "224"}).resize == 224


def test_everything_that_is_wrong_is_reported_at_once() -> None:
    with pytest.raises(ContractError) as caught:
        Hyperparameters.from_strings(
            {"num_clases": "10", "epochs": "x", "resize": "5", "image_shape": "3,28,28"}
        )
    lines = str(caught.value).splitlines()
    assert lines == [
        "`num_clases` is not a hyperparameter of this algorithm. Did you mean 'num_classes'?",
        "`epochs` is 'x', but must be an integer, 1 or more.",
        "`num_classes` is required, but missing. It must be an integer, 1 or more.",
        "`num_training_samples` is required, but missing. It must be an integer, 1 or more.",
        "`resize` is 5, but image_shape is 3,28,28, and a smaller image cannot be cropped to it. "
        "Use 28 or more.",
    ]


def test_python_values_and_strings_give_the_same_hyperparameters() -> None:
    from_python = Hyperparameters(
        num_classes=10,
        num_training_samples=1000,
        image_shape=(3, 28, 28),
        lr_scheduler_step=[10, 20],
        early_stopping=True,
        beta_value=1,
    )
    from_strings = Hyperparameters.from_strings(
        REQUIRED
        | {
            "image_shape": "3,28,28",
            "lr_scheduler_step": "10,20",
            "early_stopping": "True",
            "beta_value": "1",
        }
    )
    assert from_python == from_strings


@pytest.mark.parametrize("value", [True, 2.5, "2.5", None, [], {}])
def test_a_count_takes_whole_numbers_only(value: object) -> None:
    with pytest.raises(ContractError, match="num_classes"):
        Hyperparameters(num_classes=value, num_training_samples=10, mini_batch_size=2)


@pytest.mark.parametrize(
    ("given", "is_sifting", "beta"),
    [
        ({}, False, 1.0),
        ({"beta_value": "2"}, True, 2.0),
        ({"sifting": "True"}, True, 1.0),
        ({"sifting": "False"}, False, 1.0),
    ],
)
def test_sifting_is_on_if_asked_for_or_if_a_beta_is_given(
    given: dict[str, str], is_sifting: bool, beta: float
) -> None:
    read = Hyperparameters.from_strings(REQUIRED | given)
    assert (read.is_sifting, read.beta) == (is_sifting, beta)


def test_an_empty_string_stands_for_not_given() -> None:
    assert Hyperparameters.from_strings(REQUIRED | {"top_k": ""}).top_k is None


def test_hyperparameters_cannot_be_changed_afterwards() -> None:
    read = Hyperparameters.from_strings(REQUIRED)
    with pytest.raises(ValueError, match="frozen"):
        read.epochs = 5


def test_what_the_tuning_service_adds_is_passed_over() -> None:
    given = {"num_classes": "2", "num_training_samples": "9", "mini_batch_size": "3"}
    added = given | {"_tuning_objective_metric": "validation:accuracy"}
    assert Hyperparameters.from_strings(added) == Hyperparameters.from_strings(given)
