from __future__ import annotations

import string
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sagemaker_sift.defaults import Defaults
from sagemaker_sift.exceptions import ConfigurationError

JOB = "SageMaker.TrainingJob"
TEXT = st.text(string.ascii_letters + string.digits + " :#'\"{}[]&*!|>%@-_", max_size=20)
IDS = st.lists(
    st.text(string.ascii_lowercase + "-", min_size=1, max_size=10), min_size=1, max_size=3
)
NAMES = st.sampled_from(["A", "B", "LOG_LEVEL", "_x"])
TAGS = st.lists(
    st.builds(
        dict, Key=st.sampled_from("abcdef"), Value=st.sampled_from(["", "v w", "1", "true"])
    ),
    max_size=3,
    unique_by=lambda tag: tag["Key"],
)
JOBS = st.fixed_dictionaries(
    {},
    optional={
        "RoleArn": st.sampled_from([f"arn:aws:iam::111122223333:role/{c}" for c in "abc"]),
        "OutputDataConfig": st.fixed_dictionaries({}, optional={"KmsKeyId": TEXT}),
        "ResourceConfig": st.fixed_dictionaries({}, optional={"VolumeKmsKeyId": TEXT}),
        "VpcConfig": st.fixed_dictionaries({}, optional={"Subnets": IDS, "SecurityGroupIds": IDS}),
        "EnableNetworkIsolation": st.booleans(),
        "Environment": st.dictionaries(NAMES, TEXT, max_size=3),
        "Tags": TAGS,
    },
)


def build(job: dict[str, Any]) -> dict[str, Any]:
    return {"SchemaVersion": "1.0", "SageMaker": {"TrainingJob": job}}


def flatten(job: dict[str, Any]) -> dict[str, Any]:
    """Return the leaves of a training job section by path, as the documentation describes them."""
    leaves: dict[str, Any] = {}
    for name, value in job.items():
        if name != "Environment" and isinstance(value, dict):
            leaves |= {f"{JOB}.{name}.{inner}": item for inner, item in value.items()}
        elif value != {}:
            leaves[f"{JOB}.{name}"] = value
    return leaves


def load(*contents: bytes) -> Defaults:
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{idx}.yaml" for idx in range(len(contents))]
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content)
        nothing = {
            "SAGEMAKER_ADMIN_CONFIG_OVERRIDE": "/dev/null",
            "SAGEMAKER_USER_CONFIG_OVERRIDE": "/dev/null",
        }
        return Defaults.load(paths, environ=nothing)


def find_refusal(*contents: bytes) -> ConfigurationError | None:
    """Return the error of files that are refused; any other error goes through."""
    try:
        load(*contents)
    except ConfigurationError as error:
        return error
    return None


def read_values(defaults: Defaults) -> dict[str, Any]:
    return {setting.path: setting.value for setting in defaults.settings()}


@given(JOBS)
def test_what_is_written_is_what_is_read(job: dict[str, Any]) -> None:
    content = build(job)
    loaded = load(yaml.safe_dump(content).encode())
    assert read_values(loaded) == flatten(job)
    assert read_values(Defaults.from_mapping(content, "program")) == flatten(job)


@given(JOBS)
def test_the_line_of_a_setting_is_one_that_holds_its_name(job: dict[str, Any]) -> None:
    lines = yaml.safe_dump(build(job)).splitlines()
    for setting in load("\n".join(lines).encode()).settings():
        line = lines[int(setting.source.rpartition(":")[2]) - 1]
        assert line.strip().startswith(setting.path.rpartition(".")[2] + ":")


@given(JOBS, JOBS)
def test_the_later_file_wins_and_nothing_else_is_lost(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    merged = read_values(load(*(yaml.safe_dump(build(job)).encode() for job in (first, second))))
    expected = flatten(first) | flatten(second)
    environment = first.get("Environment", {}) | second.get("Environment", {})
    if environment:
        expected[f"{JOB}.Environment"] = environment
    assert merged == expected


@given(JOBS, JOBS, JOBS)
def test_merging_is_associative(
    first: dict[str, Any], second: dict[str, Any], third: dict[str, Any]
) -> None:
    all_three = read_values(
        load(*(yaml.safe_dump(build(job)).encode() for job in (first, second, third)))
    )
    in_two = read_values(load(*(yaml.safe_dump(build(job)).encode() for job in (first, second))))
    for path, value in in_two.items():
        if path not in flatten(third):
            assert all_three[path] == value


SNIPPETS = st.sampled_from(
    [
        *"\n :-?,[]{}&*!|>'\"%@`#~<=\\",
        "  ",
        "a",
        "1",
        "null",
        "true",
        "&a ",
        "*a ",
        "<<: ",
        "!!int ",
        "!!float ",
        "!!bool ",
        "!!timestamp ",
        "!!binary ",
        "!!map ",
        "!!seq ",
        "!!omap ",
        "2026-13-45",
        "0b_",
        "0x_",
        "1:99999",
        "9" * 5000,
        "%YAML 1.1\n",
        "%TAG ! x\n",
        "---\n",
        "...\n",
        '"\\x41"',
        '"\\U00110000"',
        '"\\ud800"',
        "SchemaVersion: '1.0'\n",
        "SageMaker:\n  TrainingJob:\n    ",
        "PythonSDK: {Modules: ",
        "Environment: ",
        "RoleArn: ",
        "Tags: ",
        "VpcConfig: {Subnets: ",
    ]
)


@given(st.lists(SNIPPETS, max_size=30).map("".join))
def test_any_text_is_read_or_refused_as_configuration(text: str) -> None:
    error = find_refusal(text.encode())
    assert error is None or str(error).encode().startswith(error.file.encode())


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_as_configuration(content: bytes) -> None:
    error = find_refusal(content)
    assert error is None or error.file.endswith("0.yaml")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.dates(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5) | st.integers() | st.none(), inner, max_size=3)
    ),
    max_leaves=8,
)
KEYS = st.sampled_from(["RoleArn", "VpcConfig", "Environment", "Tags", "EnableNetworkIsolation"])


@given(st.dictionaries(KEYS, VALUES, max_size=3))
def test_any_values_of_a_program_are_taken_or_refused_as_configuration(
    job: dict[str, Any],
) -> None:
    try:
        found = read_values(Defaults.from_mapping(build(job), "program"))
    except ConfigurationError:
        return
    assert found == flatten(job)


def test_aliases_that_would_grow_without_end_are_read_in_no_time() -> None:
    lines = ["SchemaVersion: '1.0'", "SageMaker:", "  Model:", "    a0: &a0 [x, x]"]
    lines += [f"    a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    assert load("\n".join(lines).encode()).settings() == []
    lines += ["  TrainingJob: {Tags: *a29}"]
    with pytest.raises(ConfigurationError, match=r"Tags\[0\]` is a list, but must hold settings"):
        load("\n".join(lines).encode())
