from __future__ import annotations

import itertools
import math
import sys
from collections import Counter
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from sagemaker_sift.backends.local.search.axis import (
    CategoricalAxis,
    ContinuousAxis,
    IntegerAxis,
)
from sagemaker_sift.backends.local.search.space import Space, TriedPoints
from sagemaker_sift.contract.hyperparameter import number
from sagemaker_sift.exceptions import InvalidRequestError
from sagemaker_sift.requests.hyperparameter_rules import read_value

units = st.floats(0, 1)
scalings = st.sampled_from(["Auto", "Linear", "Logarithmic", "ReverseLogarithmic"])


def is_valid(low: float, scaling: str, high: float) -> bool:
    if scaling == "Logarithmic":
        return low > 0
    return scaling != "ReverseLogarithmic" or (low >= 0 and high < 1)


@given(
    st.tuples(
        st.floats(allow_nan=False, allow_infinity=False),
        st.floats(allow_nan=False, allow_infinity=False),
    )
    | st.tuples(st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True)),
    scalings,
    units,
)
@example((-1.7e308, 1.7e308), "Linear", 0.5)
@example((5e-324, 1.797e308), "Logarithmic", 1.0)
@example((0.0, 1 - 2**-53), "ReverseLogarithmic", 1.0)
@example(
    (sys.float_info.max, math.nextafter(sys.float_info.max, 0)), "Logarithmic", 0.8102172359965896
)
@example((-0.0, 0.0), "Linear", 0.5)
def test_a_real_number_stays_in_its_range_and_reads_back_as_written(
    ends: tuple[float, float], scaling: str, unit: float
) -> None:
    low, high = sorted(ends)
    assume(is_valid(low, scaling, high))
    axis = ContinuousAxis("x", low, high, scaling)
    text = axis.decode(unit)
    assert low <= float(text) <= high
    assert text == repr(float(text))
    assert not text.startswith("-0.0") or len(text) > 4
    assert axis.read(text) == float(text)
    declared = {"MinValue": repr(low), "MaxValue": repr(high)}
    entry = {"Type": "Continuous", "Range": {"ContinuousParameterRangeSpecification": declared}}
    assert read_value(text, entry) == float(text)
    assert number("", low=low, high=high).read(text) == float(text)


@given(st.floats(-1e9, 1e9), st.floats(1e-3, 1e9), scalings, units)
def test_a_real_number_comes_back_from_the_unit_interval(
    low: float, width: float, scaling: str, unit: float
) -> None:
    if scaling == "ReverseLogarithmic":
        low, width = abs(low) / 2e9, min(width, 1) * 0.499
    high = low + width
    assume(is_valid(low, scaling, high))
    axis = ContinuousAxis("x", low, high, scaling)
    value = float(axis.decode(unit))
    assert axis.to_unit(value) == pytest.approx(unit, abs=1e-3)
    again = float(axis.decode(axis.to_unit(value)))
    assert again == pytest.approx(value, rel=1e-9, abs=1e-9 * width)


@given(st.integers(-(2**40), 2**40), st.integers(0, 2**31), st.booleans(), units)
def test_a_whole_number_comes_back_exactly(
    low: int, width: int, is_log: bool, unit: float
) -> None:
    low = abs(low) % 10**6 + 1 if is_log else low
    axis = IntegerAxis("n", low, low + width, "Logarithmic" if is_log else "Linear")
    text = axis.decode(unit)
    assert low <= int(text) <= low + width
    value = axis.read(text)
    assert value == int(text)
    assert axis.decode(axis.to_unit(value)) == text
    assert axis.point(axis.find_idx(value)) == text


@pytest.mark.parametrize("scaling", ["Linear", "Logarithmic"])
def test_the_largest_whole_numbers_are_in_range_and_lose_no_digit(scaling: str) -> None:
    low, high = 1, 10**308
    axis = IntegerAxis("n", low, high, scaling)
    assert axis.decode(0.0) == "1"
    assert low <= int(axis.decode(0.5)) <= int(axis.decode(1.0)) <= high
    assert IntegerAxis("n", -high, high, "Linear").decode(1.0) == str(high)


def count(axis: IntegerAxis | CategoricalAxis, num: int) -> Counter[str]:
    return Counter(axis.decode((idx + 0.5) / num) for idx in range(num))


def test_every_whole_number_and_category_has_the_same_share_ends_included() -> None:
    assert count(IntegerAxis("n", -1, 3, "Linear"), 500) == {
        str(value): 100 for value in range(-1, 4)
    }
    assert count(CategoricalAxis("c", ["x", "y", "z"]), 300) == {"x": 100, "y": 100, "z": 100}


def test_the_share_of_a_whole_number_is_logarithmic() -> None:
    shares = count(IntegerAxis("n", 1, 9, "Logarithmic"), 100_000)
    for value in range(1, 10):
        expected = math.log((value + 0.5) / (value - 0.5)) / math.log(9.5 / 0.5)
        assert shares[str(value)] / 100_000 == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("axis", "middle"),
    [
        (ContinuousAxis("x", 0, 10, "Linear"), 5),
        (ContinuousAxis("x", 0.001, 10, "Logarithmic"), 0.1),
        (ContinuousAxis("x", 0.9, 0.999, "ReverseLogarithmic"), 0.99),
        (ContinuousAxis("x", 0, 0.9999, "ReverseLogarithmic"), 0.99),
        (ContinuousAxis("x", 0.1, 10), 1),
        (ContinuousAxis("x", 0.07, 7), 0.7),
        (ContinuousAxis("x", 0.1, 9.9), 5),
        (ContinuousAxis("x", 0, 10), 5),
        (ContinuousAxis("x", 0.5, 0.995), 0.95),
        (ContinuousAxis("x", 0.5, 0.994), 0.747),
        (ContinuousAxis("x", 0.49, 0.999), 0.7445),
        (ContinuousAxis("x", -100, 100), 0),
        (IntegerAxis("n", 1, 99), 50),
        (IntegerAxis("n", 1, 100), 7),
        (IntegerAxis("n", 0, 100), 50),
        (IntegerAxis("n", 4, 400, "Linear"), 202),
    ],
)
def test_the_middle_of_the_unit_interval(
    axis: ContinuousAxis | IntegerAxis, middle: float
) -> None:
    assert float(axis.decode(0.5)) == pytest.approx(middle, rel=1e-9)


def test_the_middle_of_all_floats_is_zero() -> None:
    axis = ContinuousAxis("x", -1.7e308, 1.7e308, "Linear")
    assert (axis.decode(0.5), axis.to_unit(0.0)) == ("0.0", 0.5)


def test_an_end_and_a_single_value() -> None:
    assert ContinuousAxis("x", 0.1, 0.7, "Logarithmic").decode(1.0) == "0.7"
    assert ContinuousAxis("x", 0.1, 0.7, "Linear").decode(0.0) == "0.1"
    single = ContinuousAxis("x", 0.3, 0.3)
    assert (single.size, single.decode(0.9), single.to_unit(0.3)) == (1, "0.3", 0.5)
    whole = IntegerAxis("n", 7, 7, "Logarithmic")
    assert (whole.size, whole.decode(0.0), whole.to_unit(7)) == (1, "7", 0.5)


RANGES: dict[str, Any] = {
    "CategoricalParameterRanges": [{"Name": "optimizer", "Values": ["sgd", "adam", "nag"]}],
    "IntegerParameterRanges": [
        {"Name": "depth", "MinValue": "-1", "MaxValue": "2.0", "ScalingType": "Linear"}
    ],
    "ContinuousParameterRanges": [{"Name": "rate", "MinValue": "0.5", "MaxValue": "0.50"}],
    "AutoParameters": [{"Name": "momentum", "ValueHint": "0.9"}],
}


def test_the_points_of_a_space_come_in_order_the_first_name_slowest() -> None:
    space = Space.from_ranges(RANGES)
    assert space.names == ("depth", "rate", "optimizer")
    assert space.size == 12
    points = [tuple(space.point(idx).values()) for idx in range(12)]
    expected = itertools.product(["-1", "0", "1", "2"], ["0.5"], ["sgd", "adam", "nag"])
    assert points == list(expected)
    for idx in range(12):
        numbers = space.read(space.point(idx))
        assert numbers is not None
        assert space.find_idx(numbers) == idx


@pytest.mark.parametrize(
    ("changed", "is_inside"),
    [
        ({}, True),
        ({"depth": "1.0"}, True),
        ({"depth": " 1 "}, True),
        ({"more": "x"}, True),
        ({"depth": "1.5"}, False),
        ({"depth": "3"}, False),
        ({"depth": "1_0"}, False),
        ({"depth": "many"}, False),
        ({"rate": "0.51"}, False),
        ({"rate": "nan"}, False),
        ({"rate": "0.5_0"}, False),
        ({"rate": "fast"}, False),
        ({"optimizer": "SGD"}, False),
        ({"optimizer": None}, False),
    ],
)
def test_what_lies_in_the_space(changed: dict[str, Any], is_inside: bool) -> None:
    space = Space.from_ranges(RANGES)
    values = {"depth": "1", "rate": "0.5", "optimizer": "sgd"} | changed
    given = {name: value for name, value in values.items() if value is not None}
    assert (space.encode(given) is not None) == is_inside
    if is_inside:
        assert space.encode(given) == (0.625, 0.5, pytest.approx(1 / 6))


def test_a_space_with_a_real_number_is_infinite_whatever_its_other_sides() -> None:
    huge = {"Name": "n", "MinValue": "0", "MaxValue": "9" * 308}
    real = {"Name": "x", "MinValue": "0", "MaxValue": "1"}
    space = Space.from_ranges(
        {
            "IntegerParameterRanges": [huge, huge | {"Name": "m"}],
            "ContinuousParameterRanges": [real],
        }
    )
    assert math.isinf(space.size)
    with pytest.raises(IndexError, match="inf points"):
        space.point(0)
    with pytest.raises(IndexError, match="countable"):
        space.find_idx((0, 0, 0.5))


def test_a_point_beyond_the_last_and_units_of_another_number_are_errors() -> None:
    space = Space.from_ranges(RANGES)
    for idx in (-1, 12):
        with pytest.raises(IndexError, match=f"{idx}, but the space has 12"):
            space.point(idx)
    with pytest.raises(ValueError, match="shorter"):
        space.decode([0.5])


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        ({"ContinuousParameterRanges": [{"Name": "x", "MinValue": "2", "MaxValue": "1"}]}, "Swap"),
        ({"IntegerParameterRanges": [{"Name": "n", "MinValue": "a", "MaxValue": "1"}]}, "'a'"),
        ({"CategoricalParameterRanges": [{"Name": "c", "Values": []}]}, "no values"),
        (
            {"CategoricalParameterRanges": [{"Name": "c", "Values": ["a"]}] * 2},
            r"`hyperparameter_ranges\['c'\]` is given more than once",
        ),
    ],
)
def test_wrong_ranges_are_refused(ranges: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        Space.from_ranges(ranges)


@given(st.sets(st.integers(0, 11)))
def test_what_is_left_of_a_finite_space_is_what_was_not_tried(tried: set[int]) -> None:
    space = Space.from_ranges(RANGES)
    points = TriedPoints(space, [space.point(idx) for idx in tried] + [{"depth": "1"}])
    left = [space.point(idx) for idx in range(12) if idx not in tried]
    assert points.count_left() == len(left)
    assert [points.find_left(rank) for rank in range(len(left))] == left
    assert all(point not in points for point in left)
    assert all(space.point(idx) in points for idx in tried)
