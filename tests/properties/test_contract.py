from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagemaker_sift.contract.hyperparameter import HyperparameterSpec
from sagemaker_sift.contract.hyperparameters import SPECS, Hyperparameters, read_values
from sagemaker_sift.contract.metrics import (
    METRICS,
    TRAIN_TOP_K_ACCURACY,
    Metric,
    format_line,
    read_line,
)
from sagemaker_sift.contract.problem import ContractError, Problem


@given(
    metric=st.sampled_from(METRICS),
    epoch=st.integers(0, 10**6),
    value=st.floats(allow_nan=True, allow_infinity=True, width=64),
    top_k=st.integers(2, 1000),
)
def test_a_metric_line_reads_back_as_it_was_written(
    metric: Metric, epoch: int, value: float, top_k: int
) -> None:
    k = top_k if metric is TRAIN_TOP_K_ACCURACY else None
    found = read_line("[11/21/2026 09:00:00 INFO 1] " + format_line(metric, epoch, value, top_k=k))
    assert found is not None
    assert (found[0], found[1]) == (epoch, metric)
    if math.isnan(value):
        assert math.isnan(found[2])
    else:
        half_step = 0.5 * 10**-metric.decimals
        assert found[2] == value or math.isclose(found[2], value, rel_tol=1e-6, abs_tol=half_step)


def strategy_for(spec: HyperparameterSpec) -> st.SearchStrategy[Any]:
    if spec.values:
        return st.sampled_from(spec.values)
    low = spec.low if spec.low is not None else 0
    if spec.form == "integer":
        return st.integers(int(low), int(spec.high or 5000))
    if spec.form == "number":
        return st.floats(low, spec.high)
    if spec.form == "image_shape":
        return st.tuples(st.sampled_from([1, 3]), st.integers(1, 4096), st.integers(1, 4096))
    return st.lists(st.integers(1, 500), min_size=1, max_size=5).map(tuple)


@given(st.fixed_dictionaries({}, optional={name: strategy_for(s) for name, s in SPECS.items()}))
def test_every_value_in_range_is_read_and_survives_the_way_through_strings(
    chosen: dict[str, Any],
) -> None:
    values, problems = read_values(chosen)
    assert problems == []
    assert values.keys() == chosen.keys()
    try:
        first = Hyperparameters(**chosen)
    except ContractError:
        return
    strings = first.to_strings()
    assert all(isinstance(text, str) for text in strings.values())
    assert Hyperparameters.from_strings(strings) == first


@given(
    st.dictionaries(
        st.sampled_from([*SPECS, "beta", "lr", ""]),
        st.one_of(
            st.text(max_size=12),
            st.integers(),
            st.floats(),
            st.none(),
            st.booleans(),
            st.lists(st.integers(), max_size=4),
        ),
        max_size=8,
    )
)
def test_whatever_is_given_is_read_or_refused_with_a_contract_error(given_values: Any) -> None:
    problems: tuple[Problem, ...] = ()
    try:
        Hyperparameters(**given_values)
    except ContractError as error:
        problems = error.problems
    missing = {"num_classes", "num_training_samples"} - given_values.keys()
    assert missing <= {problem.path for problem in problems}
    assert all(str(problem).startswith("`") for problem in problems)


@pytest.mark.parametrize("name", list(SPECS))
def test_every_hyperparameter_tells_its_meaning_and_range(name: str) -> None:
    spec = SPECS[name]
    assert len(spec.meaning) > 8
    assert spec.describe_range()
