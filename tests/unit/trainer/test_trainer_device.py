import pytest

from sagemaker_sift.trainer.device import check_architecture
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
