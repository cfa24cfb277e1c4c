from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagemaker_sift.backends.local.search.autotune import choose_ranges
from sagemaker_sift.backends.local.search.space import Space
from sagemaker_sift.contract.specification import build_training_specification
from sagemaker_sift.parameter import read_ranges
from sagemaker_sift.requests.hyperparameter_rules import HyperparameterRules
from sagemaker_sift.requests.range_rules import find_range_problems

BUNDLED = build_training_specification("image:1")


def declare(kind: str, low: str = "0", high: str = "1", **changes: Any) -> dict[str, Any]:
    ends = {"MinValue": low, "MaxValue": high}
    entry = {
        "Name": "h",
        "Type": kind,
        "IsTunable": True,
        "Range": {f"{kind}ParameterRangeSpecification": ends},
    }
    return {"SupportedHyperParameters": [entry | changes]}


def choose(specification: dict[str, Any], hint: str, name: str = "h") -> dict[str, str] | None:
    found = choose_ranges([{"Name": name, "ValueHint": hint}], specification)
    entries = [entry for entries in found.values() for entry in entries]
    assert len(entries) <= 1
    return {key: value for key, value in entries[0].items() if key != "Name"} if entries else None


def between(low: str, high: str, scaling: str = "Auto") -> dict[str, str]:
    return {"MinValue": low, "MaxValue": high, "ScalingType": scaling}


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        ("0.01", between("0.001", "0.1", "Logarithmic")),
        ("0.03", between("0.003", "0.3", "Logarithmic")),
        ("0.07", between("0.007", "0.7", "Logarithmic")),
        ("1e-8", between("1e-09", "1e-07", "Logarithmic")),
        ("0.5", between("0.05", "1.0", "Logarithmic")),
        ("0.9", between("0.0", "0.99", "ReverseLogarithmic")),
        ("0.999", between("0.99", "0.9999", "ReverseLogarithmic")),
        ("1", between("0.1", "1.0", "Logarithmic")),
        ("0", between("0.0", "1.0")),
        ("2", between("0.0", "1.0")),
        ("five", between("0.0", "1.0")),
        ("", between("0.0", "1.0")),
        ("nan", between("0.0", "1.0")),
    ],
)
def test_a_real_number_is_searched_around_its_hint(hint: str, expected: dict[str, str]) -> None:
    assert choose(declare("Continuous"), hint) == expected


def test_near_one_is_only_special_where_the_range_ends_at_one() -> None:
    found = choose(declare("Continuous", "0", "5"), "0.9")
    assert found == between("0.09", "5.0", "Logarithmic")


@pytest.mark.parametrize(
    ("low", "high", "hint", "expected"),
    [
        ("1", "2147483647", "32", between("16", "64")),
        ("1", "50", "32", between("16", "50")),
        ("20", "50", "32", between("20", "50")),
        ("1", "50", "1", between("1", "2")),
        ("1", "50", "7.0", between("3", "14")),
        ("1", "50", "51", between("1", "50")),
        ("-5", "50", "0", between("-5", "50")),
        ("1", "50", "many", between("1", "50")),
        ("1", "2147483647", "many", None),
    ],
)
def test_a_whole_number_is_searched_from_half_to_double(
    low: str, high: str, hint: str, expected: dict[str, str] | None
) -> None:
    assert choose(declare("Integer", low, high), hint) == expected


def test_a_categorical_is_searched_whole_up_to_thirty_values() -> None:
    values = [f"v{idx}" for idx in range(40)]
    few = {"CategoricalParameterRangeSpecification": {"Values": ["a", "b", "a"]}}
    many = {"CategoricalParameterRangeSpecification": {"Values": values}}
    specification = declare("Categorical", Range=few)
    assert choose(specification, "nonsense") == {"Values": ["a", "b"]}
    found = choose_ranges([{"Name": "h", "ValueHint": "v35"}], declare("Categorical", Range=many))
    assert found["CategoricalParameterRanges"][0]["Values"] == [*values[:29], "v35"]


@pytest.mark.parametrize(
    "specification",
    [
        declare("Continuous", IsTunable=False),
        declare("FreeText"),
        declare("Integer", "9", "1"),
        declare("Categorical", Range={}),
        declare("Continuous", Name="other"),
    ],
    ids=["not tunable", "text", "no numbers", "no values", "unknown"],
)
def test_what_cannot_be_searched_is_left_out(specification: dict[str, Any]) -> None:
    assert choose(specification, "0.5") is None


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        ("32", between("16", "64")),
        ("1", between("1", "2")),
        ("0.1", between("0.01", "1.0", "Logarithmic")),
        ("adam", {"Values": ["adam"]}),
        ("0", None),
        ("-0.5", None),
    ],
)
def test_an_algorithm_that_declares_nothing_is_tuned_by_the_hint(
    hint: str, expected: dict[str, Any] | None
) -> None:
    assert choose({}, hint) == expected


def check(parameters: list[dict[str, str]], specification: dict[str, Any]) -> dict[str, Any]:
    found = choose_ranges(parameters, specification)
    assert list(found) == [
        f"{kind}ParameterRanges" for kind in ("Integer", "Continuous", "Categorical")
    ]
    rules = HyperparameterRules(specification)
    for strategy in ("Bayesian", "Random", "Hyperband"):
        problems = find_range_problems(read_ranges(found), rules, "auto", strategy=strategy)
        assert list(problems) == []
    space = Space.from_ranges(found)
    for unit in (0.0, 0.5, 1.0):
        values = space.decode([unit] * len(space.names))
        assert rules.find_problems(values) == []
    return found


hints = st.sampled_from(
    ["0.001", "0.9", "0.9999999999999999", "1", "32", "-3", "1e308", "5e-324", "sgd", "", "nan"]
) | st.floats().map(repr)
"""Of every kind, right and wrong."""


@given(st.lists(st.tuples(st.integers(0, 40), hints), max_size=12, unique_by=lambda pair: pair[0]))
def test_nothing_invalid_comes_out_for_the_bundled_algorithm(
    pairs: list[tuple[int, str]],
) -> None:
    names = [entry["Name"] for entry in BUNDLED["SupportedHyperParameters"]]
    check([{"Name": names[idx % len(names)], "ValueHint": hint} for idx, hint in pairs], BUNDLED)


def test_everything_tunable_of_the_bundled_algorithm_gets_a_range_from_its_default() -> None:
    tunable = {
        entry["Name"]: entry.get("DefaultValue", "")
        for entry in BUNDLED["SupportedHyperParameters"]
        if entry["IsTunable"]
    }
    found = check([{"Name": name, "ValueHint": hint} for name, hint in tunable.items()], BUNDLED)
    # Its default 0 is no centre, and it is declared without a sensible end.
    assert set(tunable) - set(Space.from_ranges(found).names) == {"sift_delay"}


ends = st.floats(allow_nan=False).map(repr) | st.integers().map(str) | st.just("wide")


@given(
    st.sampled_from(["Integer", "Continuous", "Categorical", "FreeText", "Nonsense"]),
    ends,
    ends,
    st.lists(st.text("ab", max_size=2), max_size=4),
    st.booleans(),
    hints,
)
def test_nothing_invalid_comes_out_for_any_algorithm(
    kind: str, low: str, high: str, values: list[str], is_tunable: bool, hint: str
) -> None:
    ends = {"MinValue": low, "MaxValue": high, "Values": values}
    declared = {f"{kind}ParameterRangeSpecification": ends}
    specification = declare(kind, IsTunable=is_tunable, Range=declared)
    found = check([{"Name": "h", "ValueHint": hint}], specification)
    if not is_tunable:
        assert not any(found.values())


@given(hints)
def test_nothing_invalid_comes_out_where_nothing_is_declared(hint: str) -> None:
    found = check([{"Name": "h", "ValueHint": hint}], {})
    for entry in found["ContinuousParameterRanges"]:
        assert 0 < float(entry["MinValue"]) <= float(entry["MaxValue"]) < math.inf
