from __future__ import annotations

from typing import Any

import pytest

from sagemaker_sift.contract.hyperparameters import Hyperparameters
from sagemaker_sift.contract.ignored import find_ignored


def ignored_of(num_machines: int = 1, **changes: Any) -> dict[str, str]:
    hp = Hyperparameters(num_classes=10, num_training_samples=1000, **changes)
    return {found.path: found.message for found in find_ignored(hp, num_machines=num_machines)}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"optimizer": "adam"}, {"momentum", "weight_decay", "gamma"}),
        ({"optimizer": "rmsprop"}, {"momentum", "weight_decay", "beta_1", "beta_2"}),
        ({"optimizer": "sgd"}, {"beta_1", "beta_2", "eps", "gamma"}),
        ({"optimizer": "nag"}, {"beta_1", "beta_2", "eps", "gamma"}),
    ],
)
def test_settings_of_other_optimizers_are_ignored(
    changes: dict[str, Any], expected: set[str]
) -> None:
    given = {"momentum": 0.5, "weight_decay": 0.5, "beta_1": 0.5, "beta_2": 0.5, "eps": 0.5}
    assert set(ignored_of(**given, gamma=0.5, **changes)) == expected


@pytest.mark.parametrize(
    ("changes", "remedy", "name"),
    [
        ({"early_stopping_min_epochs": 3}, {"early_stopping": True}, "early_stopping_min_epochs"),
        ({"early_stopping_patience": 3}, {"early_stopping": True}, "early_stopping_patience"),
        ({"early_stopping_tolerance": 0.3}, {"early_stopping": True}, "early_stopping_tolerance"),
        ({"lr_scheduler_factor": 0.5}, {"lr_scheduler_step": "10"}, "lr_scheduler_factor"),
        ({"lr_scheduler_step": "10,30"}, {"epochs": 31}, "lr_scheduler_step"),
        ({"use_weighted_loss": 1}, {"multi_label": 1}, "use_weighted_loss"),
        ({"kv_store": "dist_sync"}, {"num_machines": 2}, "kv_store"),
        ({"loss_history_length": 9}, {"sifting": True}, "loss_history_length"),
        ({"sift_delay": 9}, {"beta_value": 1}, "sift_delay"),
        (
            {"repeat_delay_per_epoch": True},
            {"sifting": True, "sift_delay": 9},
            "repeat_delay_per_epoch",
        ),
        ({"unsifted_share": 0.2}, {"sifting": True}, "unsifted_share"),
        ({"scoring": "plain"}, {"sifting": True}, "scoring"),
        (
            {"sifting": True, "max_score_age": 9},
            {"scoring": "last_visit"},
            "max_score_age",
        ),
        ({"weighting": "inverse"}, {"sifting": True}, "weighting"),
        ({"max_percentile": 0.9}, {"sifting": True}, "max_percentile"),
        ({"stop_if_slower": False}, {"sifting": True}, "stop_if_slower"),
        ({"log_batch_data": True}, {"sifting": True}, "log_batch_data"),
        (
            {"early_stopping": True, "early_stopping_min_epochs": 30},
            {"epochs": 31},
            "early_stopping",
        ),
        (
            {"early_stopping": True, "early_stopping_patience": 29},
            {"epochs": 31},
            "early_stopping",
        ),
    ],
)
def test_a_setting_is_ignored_until_what_it_needs_is_there(
    changes: dict[str, Any], remedy: dict[str, Any], name: str
) -> None:
    assert set(ignored_of(**changes)) == {name}
    assert ignored_of(**changes, **remedy) == {}


def test_the_reason_is_named() -> None:
    found = ignored_of(optimizer="adam", gamma=0.5, lr_scheduler_step="10,30,40", sift_delay=3)
    assert found == {
        "gamma": "is 0.5, but optimizer is adam, and only rmsprop uses it.",
        "lr_scheduler_step": "is 10,30,40, but epochs is 30: none begins after 30, 40.",
        "sift_delay": "is 3, but the job does not sift.",
    }


def test_defaults_are_passed_over_even_if_they_are_given() -> None:
    plain = Hyperparameters(num_classes=10, num_training_samples=1000, optimizer="adam")
    assert find_ignored(plain) == []
    assert find_ignored(Hyperparameters.from_strings(plain.to_strings())) == []
