from __future__ import annotations

import pytest

from sagemaker_sift.contract.inference import (
    REALTIME_INSTANCE_TYPES,
    TRANSFORM_INSTANCE_TYPES,
    build_inference_specification,
)
from sagemaker_sift.contract.instances import INSTANCES, num_gpus, suggest_batch_size
from sagemaker_sift.contract.problem import ContractError
from sagemaker_sift.contract.specification import INSTANCE_TYPES
from sagemaker_sift.requests.service_model import load_shape

PAGE_TABLE = {"p3.2xlarge": 1, "p3.8xlarge": 4, "p3.16xlarge": 8, "p3dn.24xlarge": 8}
OTHERS = {
    "p4d.24xlarge": 8,
    "p5.48xlarge": 8,
    "g4dn.xlarge": 1,
    "g4dn.12xlarge": 4,
    "g4dn.16xlarge": 1,
    "g5.12xlarge": 4,
    "g5.16xlarge": 1,
    "g5.24xlarge": 4,
    "g5.48xlarge": 8,
    "g6.8xlarge": 1,
    "g6.12xlarge": 4,
    "g6.24xlarge": 4,
    "g6.48xlarge": 8,
    "c5.18xlarge": 0,
    "m5.large": 0,
}


@pytest.mark.parametrize(("name", "gpus"), [*PAGE_TABLE.items(), *OTHERS.items()])
def test_the_gpus_of_a_type_are_the_published_ones(name: str, gpus: int) -> None:
    assert num_gpus(f"ml.{name}") == gpus


def test_the_table_has_every_type_of_the_specification_in_its_order() -> None:
    assert tuple(instance.type for instance in INSTANCES) == INSTANCE_TYPES
    assert {instance.gpus for instance in INSTANCES} == {0, 1, 4, 8}


def test_the_batch_size_grows_with_the_gpus_as_the_page_counts() -> None:
    assert suggest_batch_size("ml.p3.8xlarge") == 128
    assert suggest_batch_size("ml.g5.xlarge") == 32
    assert suggest_batch_size("ml.c5.xlarge") == 32
    assert suggest_batch_size("ml.p3.16xlarge", per_gpu=64) == 512


def test_an_unknown_type_is_refused_with_the_nearest() -> None:
    with pytest.raises(ContractError, match=r"`instance_type` is 'ml\.p3\.9xlarge'.*mean 'ml\.p3"):
        num_gpus("ml.p3.9xlarge")
    with pytest.raises(ContractError, match="not offered for"):
        suggest_batch_size("ml.nothing")
    with pytest.raises(ContractError, match="`per_gpu` is 0, but must be 1 or more"):
        suggest_batch_size("ml.g5.xlarge", per_gpu=0)


@pytest.mark.parametrize(
    ("types", "shape"),
    [
        (TRANSFORM_INSTANCE_TYPES, "TransformInstanceType"),
        (REALTIME_INSTANCE_TYPES, "ProductionVariantInstanceType"),
    ],
    ids=["transform", "realtime"],
)
def test_a_model_is_served_on_every_type_of_training_that_sagemaker_serves_on(
    types: tuple[str, ...], shape: str
) -> None:
    known = load_shape(shape).enum
    assert list(types) == [name for name in INSTANCE_TYPES if name in known]


def test_the_inference_specification_has_the_built_ins_content_types() -> None:
    specification = build_inference_specification("serve:1")
    assert specification["Containers"] == [{"Image": "serve:1"}]
    assert specification["SupportedContentTypes"] == [
        "application/x-image",
        "image/jpeg",
        "image/png",
    ]
    assert specification["SupportedResponseMIMETypes"] == [
        "application/json",
        "application/jsonlines",
    ]
