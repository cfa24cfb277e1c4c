from __future__ import annotations

from enum import Enum
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagemaker_sift import CategoricalParameter, ContinuousParameter, IntegerParameter
from sagemaker_sift.parameter import read_range, read_ranges, write_ranges


def test_ranges_contain_what_lies_between_their_ends() -> None:
    assert ContinuousParameter(0.5, 1).is_valid(1)
    assert not ContinuousParameter(0.5, 1).is_valid(1.001)
    assert IntegerParameter(1, 3).is_valid(3)
    assert not IntegerParameter(1, 3).is_valid(2.5)
    assert not IntegerParameter(1, 3).is_valid("x")
    assert CategoricalParameter([1, True, "a"]).is_valid(1)
    assert not CategoricalParameter(["a"]).is_valid("b")


def test_a_fraction_is_no_integer() -> None:
    assert IntegerParameter.cast_to_type("3.0") == 3
    with pytest.raises(ValueError, match=r"3\.7 is not a whole number"):
        IntegerParameter.cast_to_type(3.7)
    [problem] = IntegerParameter(1, 2.5).find_problems("r")
    assert "2.5 is not a whole number" in problem.message


class Optimizer(Enum):
    SGD = "sgd"


def test_categories_may_be_any_iterable() -> None:
    expected = {"Name": "n", "Values": ["1", "2"]}
    for values in ([1, 2], (1, 2), range(1, 3), (str(n) for n in (1, 2))):
        assert CategoricalParameter(values).as_tuning_range("n") == expected
    assert CategoricalParameter("sgd").values == ["sgd"]
    assert CategoricalParameter([Optimizer.SGD]).values == ["sgd"]
    assert CategoricalParameter(["a"]).as_json_range("n")["Values"] == ['"a"']


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (ContinuousParameter("x", 1), "'x' is not a number"),
        (ContinuousParameter(float("nan"), 1), "nan is not a number"),
        (ContinuousParameter(0, float("inf")), "inf is not a number"),
        (ContinuousParameter(True, 2), "True is not a number"),
        (ContinuousParameter(None, 2), "None is not a number"),
        (CategoricalParameter([]), "has no values"),
        (CategoricalParameter(["a", "b", "a"]), "has 'a' more than once"),
    ],
)
def test_broken_ranges_say_why(entry: ContinuousParameter, says: str) -> None:
    [problem] = entry.find_problems("range")
    assert says in problem.message


def test_numbers_are_written_as_they_were_given() -> None:
    entry = ContinuousParameter(1e-05, 10, "Logarithmic").as_tuning_range("lr")
    assert (entry["MinValue"], entry["MaxValue"]) == ("1e-05", "10")
    assert IntegerParameter(5.0, 9).as_tuning_range("n")["MinValue"] == "5"


NUMBERS = st.floats(-1e6, 1e6) | st.integers(-1000, 1000)


@given(
    st.dictionaries(
        st.text("abcdef", min_size=1),
        st.builds(ContinuousParameter, NUMBERS, NUMBERS, st.sampled_from(["Auto", "Linear"]))
        | st.builds(IntegerParameter, st.integers(-99, 99), st.integers(-99, 99))
        | st.builds(CategoricalParameter, st.lists(st.text(max_size=3), min_size=1)),
    )
)
def test_ranges_come_back_from_the_api_as_they_went(ranges: dict[str, object]) -> None:
    sent = write_ranges(ranges)  # type: ignore[arg-type]
    assert write_ranges(read_ranges(sent)) == sent


def test_the_api_s_own_dictionary_is_a_range_too() -> None:
    entry = {"Name": "lr", "MinValue": "0.1", "MaxValue": "1", "ScalingType": "Linear"}
    assert read_range(entry, "lr") == ContinuousParameter("0.1", "1", "Linear")
    assert read_range({"Name": "c", "Values": ["a"]}, "c") == CategoricalParameter(["a"])
    with pytest.raises(TypeError, match="`lr` is PosixPath"):
        read_range(Path("x"), "lr")
