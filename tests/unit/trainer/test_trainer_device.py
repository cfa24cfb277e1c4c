import platform

import pytest
import torch

from sagemaker_sift.trainer.device import check_architecture, has_bfloat16
from sagemaker_sift.trainer.errors import TrainingError

CU126 = ["sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90"]
CU130 = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"]


@pytest.mark.parametrize(
    ("capability", "built_for"),
    [
        ((7, 0), CU126),
        ((8, 9), CU126),
        ((9, 0), [*CU126, "sm_90a"]),
        ((12, 0), CU130),
        ((12, 1), CU130),
        ((10, 0), ["sm_90", "compute_90"]),
    ],
)
def test_a_gpu_that_some_kernel_runs_on_is_accepted(
    capability: tuple[int, int], built_for: list[str]
) -> None:
    check_architecture("GPU", capability, built_for)


@pytest.mark.parametrize(
    ("capability", "built_for"),
    [
        ((7, 0), CU130),
        ((12, 0), CU126),
        ((8, 0), ["sm_86"]),
        ((7, 0), ["compute_80"]),
        ((7, 0), []),
    ],
)
def test_a_gpu_without_kernels_is_refused_in_one_sentence(
    capability: tuple[int, int], built_for: list[str]
) -> None:
    major, minor = capability
    with pytest.raises(
        TrainingError,
        match=rf"^The GPU Tesla X has compute capability {major}\.{minor}, but .*V100",
    ) as caught:
        check_architecture("Tesla X", capability, built_for)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), False), ((8, 0), True)])
def test_a_gpu_has_bfloat16_from_ampere_on(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], expected: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    assert has_bfloat16(torch.device("cuda", 0)) is expected


@pytest.mark.parametrize("avx512", [True, False])
@pytest.mark.parametrize("amx", [True, False])
def test_an_x86_processor_has_bfloat16_by_its_instructions_not_by_emulation(
    monkeypatch: pytest.MonkeyPatch, avx512: bool, amx: bool
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    assert has_bfloat16(torch.device("cpu")) is (avx512 or amx)


def test_without_the_questions_and_on_other_devices_there_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported", raising=False)
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)
    assert has_bfloat16(torch.device("cpu")) is False
    assert has_bfloat16(torch.device("mps")) is False
