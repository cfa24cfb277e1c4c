"""The page for users of the console: fields in their order, our values, the service's limits."""

from __future__ import annotations

import inspect
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from sagemaker_sift import AlgorithmEstimator, TrainingInput
from sagemaker_sift.algorithm import Algorithm
from sagemaker_sift.cli.main import build_parser
from sagemaker_sift.contract.channels import CHANNELS
from sagemaker_sift.contract.instances import num_gpus, suggest_batch_size
from sagemaker_sift.contract.metrics import METRICS
from sagemaker_sift.contract.specification import (
    ALGORITHM_NAME,
    INSTANCE_TYPES,
    build_training_specification,
)
from sagemaker_sift.limits import TuningLimits
from sagemaker_sift.parameter import ContinuousParameter, IntegerParameter
from sagemaker_sift.requests.job_rules import find_rule_problems
from sagemaker_sift.requests.service_model import load_shape
from sagemaker_sift.tuner import HyperparameterTuner
from sagemaker_sift.warm_start import WarmStartConfig, WarmStartTypes

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "console.md").read_text(encoding="utf-8")
SPECIFICATION = build_training_specification("image:1")

CREATE, TRAIN, TUNE = (PAGE.split(f"## {number}. ")[1].split("\n## ")[0] for number in (1, 2, 3))
CALLABLES: dict[str, Any] = {
    "Algorithm": Algorithm,
    "Algorithm.from_contract": Algorithm.from_contract,
    "AlgorithmEstimator": AlgorithmEstimator,
    "HyperparameterTuner": HyperparameterTuner,
    "TrainingInput": TrainingInput,
    "WarmStartConfig": WarmStartConfig,
    "estimator.fit": AlgorithmEstimator.fit,
    "tuner.fit": HyperparameterTuner.fit,
}
TUNING_FIELDS = [
    "Warm start",
    "Parent hyperparameter tuning job(s)",
    "Hyperparameter tuning job name",
    "IAM role",
    "VPC",
    "Objective metric",
    "Hyperparameter configuration: ranges",
    "Hyperparameter configuration: static values",
    "Channel name",
    "Content type",
    "Compression type",
    "Record wrapper",
    "S3 data type",
    "S3 data distribution type",
    "S3 location",
    "Input mode",
    "S3 output path",
    "Encryption key (of the output)",
    "Instance type",
    "Instance count",
    "Volume size per instance (GB)",
    "Encryption key (of the volume)",
    "Total training jobs",
    "Maximum parallel training jobs",
    "Stopping condition",
    "Tags",
]
TRAINING_FIELDS = [
    "Job name",
    "IAM role",
    "Instance type",
    "Instance count",
    "Additional volume per instance (GB)",
    "Encryption key (of the volume)",
    "Stopping condition",
    "VPC",
    "Hyperparameters",
    "Input data configuration",
    "S3 output path",
    "Encryption key (of the output)",
    "Tags",
]
ALGORITHM_FIELDS = [
    "Algorithm name",
    "Description",
    "Training image",
    "Support distributed training",
    "Support instance types for training",
    "Channel specification",
    "Hyperparameter specification",
    "Metric definitions",
    "Objective metric support",
    "Container definition",
    "Publish this algorithm on AWS Marketplace",
    "Validate this algorithm",
    "Tags",
]


def read_tables(section: str) -> list[list[list[str]]]:
    """Return the tables of a section, each as rows of cells without its head."""
    tables = re.findall(r"(?:^\|.*\|\n)+", section, re.MULTILINE)
    return [
        [
            [cell.strip() for cell in line.strip().strip("|").split("|")]
            for line in table.splitlines()[2:]
        ]
        for table in tables
    ]


def quote(text: str) -> list[str]:
    """Return what stands between backticks."""
    return re.findall(r"`([^`]+)`", text)


def describe_limit(shape: str, noun: str) -> str:
    """Return a limit of the service model in the words of the page."""
    rules = load_shape(shape).metadata
    low, high = rules.get("min", 0), rules["max"]
    if low == high:
        return f"{high} {noun}"
    plural = f" {noun}" if noun else ""
    return f"{low} to {high}{plural}" if low == 1 else f"at most {high}{plural}"


@pytest.mark.parametrize(
    ("section", "fields"),
    [(CREATE, ALGORITHM_FIELDS), (TRAIN, TRAINING_FIELDS), (TUNE, TUNING_FIELDS)],
    ids=["algorithm", "training", "tuning"],
)
def test_the_fields_stand_in_the_order_of_the_console(section: str, fields: list[str]) -> None:
    rows = read_tables(section)[0]
    assert [row[0] for row in rows] == fields
    assert all(len(row) == 4 and row[1] for row in rows)


def test_every_argument_that_the_page_names_exists() -> None:
    named = re.findall(r"`([\w.]+)\((\w+)=", PAGE)
    assert len(named) > 45
    assert [
        (name, argument)
        for name, argument in named
        if argument not in inspect.signature(CALLABLES[name]).parameters
    ] == []


def test_every_field_of_the_tuning_page_has_an_argument() -> None:
    assert [row[0] for row in read_tables(TUNE)[0] if not re.search(r"\(\w+=\)", row[3])] == []


def find_limits(section: str) -> dict[str, str]:
    return {row[0]: row[2] for row in read_tables(section)[0]}


def test_the_limits_of_an_algorithm_are_those_of_the_service() -> None:
    limits = find_limits(CREATE)
    assert limits["Algorithm name"] == describe_limit("EntityName", "characters")
    assert limits["Description"] == describe_limit("EntityDescription", "characters")
    assert limits["Training image"] == describe_limit("ContainerImage", "characters")
    assert limits["Channel specification"] == describe_limit("ChannelSpecifications", "channels")
    assert limits["Hyperparameter specification"] == describe_limit(
        "HyperParameterSpecifications", ""
    )
    assert limits["Metric definitions"] == describe_limit("MetricDefinitionList", "")
    assert limits["Validate this algorithm"] == describe_limit(
        "AlgorithmValidationProfiles", "validation profile"
    )
    assert limits["Tags"] == describe_limit("TagList", "")


@pytest.mark.parametrize("section", [TRAIN, TUNE], ids=["training", "tuning"])
def test_the_limits_of_a_job_are_those_of_the_service(section: str) -> None:
    limits = find_limits(section)
    assert limits["IAM role"] == "at most {max} characters".format(
        **load_shape("RoleArn").metadata
    )
    for field in ("Encryption key (of the output)", "Encryption key (of the volume)"):
        assert limits[field] == describe_limit("KmsKeyId", "characters")
    assert limits["S3 output path"] == describe_limit("S3Uri", "characters")
    assert limits["VPC"] == "at most {} and {}".format(
        load_shape("Subnets").metadata["max"], load_shape("VpcSecurityGroupIds").metadata["max"]
    )
    assert limits["Tags"] == describe_limit("TagList", "")
    assert limits["Stopping condition"] == "at most 28 days"
    for seconds, refused in ((28 * 86400, 0), (28 * 86400 + 1, 1)):
        job = {"StoppingCondition": {"MaxRuntimeInSeconds": seconds}}
        assert len(list(find_rule_problems(job, {}))) == refused


def test_the_limits_of_training_and_tuning_jobs_are_theirs() -> None:
    training, tuning = find_limits(TRAIN), find_limits(TUNE)
    channels = load_shape("InputDataConfig").metadata["max"]
    assert training["Job name"] == describe_limit("TrainingJobName", "characters")
    assert training["Hyperparameters"] == describe_limit("HyperParameters", "")
    assert training["Input data configuration"] == f"at most {channels} channels"
    assert tuning["Channel name"] == f"at most {channels} channels"
    assert tuning["Hyperparameter tuning job name"] == describe_limit(
        "HyperParameterTuningJobName", "characters"
    )
    assert tuning["Parent hyperparameter tuning job(s)"] == describe_limit(
        "ParentHyperParameterTuningJobs", ""
    )
    assert tuning["Hyperparameter configuration: ranges"] == describe_limit(
        "IntegerParameterRanges", ""
    )
    assert tuning["Hyperparameter configuration: ranges"].endswith(f" {TuningLimits().max_tuned}")
    assert tuning["Hyperparameter configuration: static values"] == describe_limit(
        "HyperParameters", ""
    )
    assert tuning["Content type"] == describe_limit("ContentType", "characters")
    assert tuning["S3 location"] == describe_limit("S3Uri", "characters")


def test_the_limits_of_a_search_are_those_that_the_tuner_checks() -> None:
    limits, quota = find_limits(TUNE), TuningLimits.quota()
    assert limits["Total training jobs"] == f"at most {TuningLimits().max_jobs}"
    assert (
        limits["Maximum parallel training jobs"] == f"at most {TuningLimits().max_parallel_jobs}"
    )
    random = TuningLimits.quota("Random").max_jobs
    assert f"today are {quota.max_jobs} ({random} for a random search)" in TUNE
    assert f"and {quota.max_parallel_jobs}, which AWS raises" in TUNE


def test_the_channels_are_those_of_the_contract() -> None:
    assert read_tables(CREATE)[1] == [
        [
            f"`{channel.name}`",
            "yes" if channel.is_required else "",
            ", ".join(f"`{content_type}`" for content_type in channel.content_types),
            "None",
            ", ".join(channel.input_modes),
        ]
        for channel in CHANNELS
    ]
    assert {
        tuple(channel["SupportedCompressionTypes"])
        for channel in SPECIFICATION["TrainingChannels"]
    } == {("None",)}


def test_values_that_the_page_names_are_known_to_contract_and_service() -> None:
    values = {row[0]: row[1] for row in read_tables(TUNE)[0]}
    objectives = [metric.name for metric in METRICS if metric.is_objective]
    assert quote(values["Objective metric"])[:1] == objectives
    assert SPECIFICATION["SupportedTuningJobObjectiveMetrics"][0]["Type"] == "Maximize"
    assert "Maximize" in values["Objective metric"]
    required = [
        entry["Name"] for entry in SPECIFICATION["SupportedHyperParameters"] if entry["IsRequired"]
    ]
    assert quote(values["Hyperparameter configuration: static values"]) == required
    for field, shape in (
        ("Compression type", "CompressionType"),
        ("Record wrapper", "RecordWrapper"),
        ("S3 data type", "S3DataType"),
        ("S3 data distribution type", "S3DataDistribution"),
        ("Input mode", "TrainingInputMode"),
    ):
        assert re.split(r"[;:]", values[field])[0] in load_shape(shape).enum, field
    assert quote(values["Instance type"])[0] in INSTANCE_TYPES
    assert {member.value for member in WarmStartTypes} == set(
        load_shape("HyperParameterTuningJobWarmStartType").enum
    )
    first = {row[0]: row[1] for row in read_tables(CREATE)[0]}
    assert quote(first["Algorithm name"]) == [ALGORITHM_NAME]
    assert quote(first["Objective metric support"]) == objectives
    assert first["Support distributed training"] == "Yes"
    assert SPECIFICATION["SupportsDistributedTraining"] is True


def test_every_tunable_hyperparameter_has_a_row_with_its_type_and_range() -> None:
    rows = {row[0].strip("`"): row[1:] for row in read_tables(TUNE)[1]}
    tunable = {
        entry["Name"]: entry
        for entry in SPECIFICATION["SupportedHyperParameters"]
        if entry["IsTunable"]
    }
    assert rows.keys() == tunable.keys()
    for name, (kind, allowed, begin, scaling) in rows.items():
        declared = tunable[name]["Range"][f"{kind}ParameterRangeSpecification"]
        assert kind == tunable[name]["Type"]
        if kind == "Categorical":
            assert allowed == begin == ", ".join(declared["Values"])
            continue
        assert allowed == f"{declared['MinValue']} to {declared['MaxValue']}"
        low, high = (float(text) for text in begin.split(" to "))
        assert float(declared["MinValue"]) <= low < high <= float(declared["MaxValue"]), name
        number = int if kind == "Integer" else float
        parameter = {"Integer": IntegerParameter, "Continuous": ContinuousParameter}[kind]
        assert parameter(number(low), number(high), scaling).find_problems(name) == []


def test_the_rule_of_the_batch_size_is_the_one_in_use() -> None:
    assert "begin with 32 for each GPU" in TRAIN
    assert "such as 128 on `ml.p3.8xlarge`, which has 4" in TRAIN
    assert (suggest_batch_size("ml.p3.8xlarge"), num_gpus("ml.p3.8xlarge")) == (128, 4)


def test_the_commands_of_the_page_are_understood() -> None:
    blocks = re.findall(r"```\n(.*?)```", PAGE, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += re.findall(r"`(sagemaker-sift [^`]+)`", PAGE)
    assert len(lines) >= 5
    for line in lines:
        build_parser().parse_args(shlex.split(line)[1:])


def test_every_file_that_the_page_names_exists() -> None:
    named = re.findall(r"`((?:entry_points/)?[\w]+(?:\.md|/train))`", PAGE)
    assert {"container.md", "hyperparameters.md", "entry_points/train"} <= set(named)
    assert [n for n in named if not ((ROOT / n).exists() or (ROOT / "docs" / n).exists())] == []
