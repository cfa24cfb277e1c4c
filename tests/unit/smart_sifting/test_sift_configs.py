from __future__ import annotations

import math
from typing import Any

import pytest

import smart_sifting
from smart_sifting.sift_config.sift_configs import (
    LossConfig,
    RelativeProbabilisticSiftConfig,
    SiftConfigValidationException,
    SiftingBaseConfig,
    read_sift_config,
)
from tests.conformance.loader_suite import make_config


def build(**changes: Any) -> RelativeProbabilisticSiftConfig:
    return RelativeProbabilisticSiftConfig(**(make_config() | changes))


def inside(**values: Any) -> dict[str, Any]:
    return {"loss_based_sift_config": {"sift_config": values}}


def test_the_documented_defaults() -> None:
    base = SiftingBaseConfig()
    assert (base.sift_delay, base.repeat_delay_per_epoch) == (1000, False)
    assert (base.unsifted_share, base.num_epochs, base.first_unsifted_epoch) == (0.0, None, None)
    config = build()
    assert (config.max_percentile, config.weighting, config.max_weight) == (1.0, "none", 5.0)


def test_our_own_values_are_given_by_name_only() -> None:
    with pytest.raises(TypeError):
        SiftingBaseConfig(0, False, 0.1)  # type: ignore[misc]
    with pytest.raises(TypeError):
        RelativeProbabilisticSiftConfig(1.0, 5, LossConfig({}), 0.5)  # type: ignore[misc]


def test_dicts_and_objects_mean_the_same() -> None:
    from_dicts, base = read_sift_config(make_config(beta=3, history=7, delay=2, repeat=True))
    from_objects = RelativeProbabilisticSiftConfig(
        beta_value=3,
        loss_history_length=7,
        loss_based_sift_config=LossConfig(SiftingBaseConfig(2, repeat_delay_per_epoch=True)),
    )
    assert from_dicts == from_objects
    assert base == SiftingBaseConfig(2, repeat_delay_per_epoch=True)
    assert read_sift_config(from_objects) == (from_objects, base)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"beta_value": 0}, "`beta_value` is 0.0, but must be positive and finite"),
        ({"beta_value": -1.5}, "`beta_value` is -1.5, but must be positive and finite"),
        ({"beta_value": math.inf}, "`beta_value` is inf, but must be positive and finite"),
        ({"beta_value": math.nan}, "`beta_value` is nan, but must be positive and finite"),
        ({"beta_value": "1"}, "`beta_value` is '1', but must be a number"),
        ({"beta_value": True}, "`beta_value` is True, but must be a number"),
        ({"beta_value": None}, "`beta_value` is None, but must be a number"),
        ({"loss_history_length": 0}, "`loss_history_length` is 0, but must be at least 1"),
        ({"loss_history_length": 5.0}, "`loss_history_length` is 5.0, but must be a whole"),
        ({"loss_history_length": True}, "`loss_history_length` is True, but must be a whole"),
        ({"loss_based_sift_config": 3}, "`loss_based_sift_config` is 3, but must be a LossConfig"),
        ({"loss_based_sift_config": {}}, "`loss_based_sift_config` misses the key 'sift_config'"),
        (
            {"loss_based_sift_config": {"sift_config": {"sift_dealy": 3}}},
            "`sift_config` has the key 'sift_dealy'.* Did you mean 'sift_delay'?",
        ),
        (
            {"loss_based_sift_config": {"sift_config": {"sift_delay": -1}}},
            "`sift_delay` is -1, but must be at least 0",
        ),
        (
            {"loss_based_sift_config": {"sift_config": {"sift_delay": "10"}}},
            "`sift_delay` is '10', but must be a whole number",
        ),
        (
            {"loss_based_sift_config": {"sift_config": {"repeat_delay_per_epoch": 1}}},
            "`repeat_delay_per_epoch` is 1, but must be True or False",
        ),
        ({"loss_based_sift_config": {"sift_config": None}}, "must be a SiftingBaseConfig"),
        (inside(sift_delay="Auto"), "`sift_delay` is 'Auto', but must be .* Or give 'auto'"),
        (inside(sift_delay=1.5), "`sift_delay` is 1.5, but must be a whole .* Or give 'auto'"),
        (inside(sift_delay=None), "`sift_delay` is None, but must be a whole"),
        (
            inside(sift_delay="auto", repeat_delay_per_epoch=True),
            "`repeat_delay_per_epoch` is True, but `sift_delay` is 'auto'.* leave .* out",
        ),
        (
            inside(unsifted_share=1, num_epochs=3),
            r"`unsifted_share` is 1.0, but must be in \[0, 1\)",
        ),
        (inside(unsifted_share=-0.1, num_epochs=3), r"`unsifted_share` is -0.1, but must be in"),
        (
            inside(unsifted_share=math.nan, num_epochs=3),
            r"`unsifted_share` is nan, but must be in",
        ),
        (
            inside(unsifted_share="0.1", num_epochs=3),
            "`unsifted_share` is '0.1', but must be a num",
        ),
        (inside(unsifted_share=True, num_epochs=3), "`unsifted_share` is True, but must be a num"),
        (inside(unsifted_share=0.1), "`num_epochs` is not given. Say how many"),
        (inside(unsifted_share=0.1, num_epochs=0), "`num_epochs` is 0, but must be at least 1"),
        (inside(unsifted_share=0.1, num_epochs=2.0), "`num_epochs` is 2.0, but must be a whole"),
        (inside(unsifted_shore=0.1), "Did you mean 'unsifted_share'?"),
        (
            {"max_percentile": 0},
            r"`max_percentile` is 0.0, but must be in \(0, 1\]: samples above",
        ),
        ({"max_percentile": 1.01}, r"`max_percentile` is 1.01, but must be in \(0, 1\]"),
        ({"max_percentile": math.nan}, r"`max_percentile` is nan, but must be in"),
        ({"max_percentile": "1"}, "`max_percentile` is '1', but must be a number"),
        ({"weighting": "inverted"}, "`weighting` is 'inverted', but must be 'none' or 'inverse'"),
        ({"weighting": None}, "`weighting` is None, but must be 'none' or 'inverse'"),
        ({"weighting": ["none"]}, r"`weighting` is \['none'\], but must be 'none' or 'inverse'"),
        ({"max_weight": 0.5}, "`max_weight` is 0.5, but must be at least 1 and finite"),
        ({"max_weight": math.inf}, "`max_weight` is inf, but must be at least 1 and finite"),
        ({"max_weight": math.nan}, "`max_weight` is nan, but must be at least 1 and finite"),
        ({"max_weight": "5"}, "`max_weight` is '5', but must be a number"),
    ],
)
def test_a_wrong_value_is_told_in_objects_and_in_dicts(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(SiftConfigValidationException, match=message):
        build(**changes)
    with pytest.raises(SiftConfigValidationException, match=message):
        read_sift_config(make_config() | changes)


@pytest.mark.parametrize("key", ["beta_value", "loss_history_length", "loss_based_sift_config"])
def test_a_missing_key_is_told(key: str) -> None:
    config = make_config()
    del config[key]
    with pytest.raises(SiftConfigValidationException, match=f"misses the key '{key}'"):
        read_sift_config(config)


def test_an_unknown_key_is_told() -> None:
    with pytest.raises(SiftConfigValidationException, match=r"Did you mean 'beta_value'\?"):
        read_sift_config(make_config() | {"beta": 1})


def test_something_else_is_no_configuration() -> None:
    with pytest.raises(SiftConfigValidationException, match="`sift_config` is None"):
        read_sift_config(None)  # type: ignore[arg-type]


def test_a_configuration_cannot_be_changed_unchecked() -> None:
    with pytest.raises(AttributeError):
        build().beta_value = -1  # type: ignore[misc]


def test_public_names_are_sorted_and_complete() -> None:
    assert smart_sifting.__all__ == sorted(smart_sifting.__all__)
    for name in smart_sifting.__all__:
        assert getattr(smart_sifting, name).__doc__, name


def test_the_exceptions_are_importable_from_where_they_are_raised() -> None:
    from smart_sifting.data_model import data_model_interface
    from smart_sifting.dataloader import sift_dataloader
    from smart_sifting.loss import abstract_sift_loss_module

    loss_error = smart_sifting.LossImplementationNotProvidedException
    format_error = smart_sifting.UnsupportedDataFormatException
    assert smart_sifting.SiftConfigValidationException is SiftConfigValidationException
    assert sift_dataloader.SiftConfigValidationException is SiftConfigValidationException
    assert sift_dataloader.LossImplementationNotProvidedException is loss_error
    assert abstract_sift_loss_module.LossImplementationNotProvidedException is loss_error
    assert sift_dataloader.UnsupportedDataFormatException is format_error
    assert data_model_interface.UnsupportedDataFormatException is format_error
