"""The same job on a CUDA device."""

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from sagemaker_sift.contract.container import ContainerPaths
from sagemaker_sift.trainer import TrainingError, load_model
from sagemaker_sift.trainer.checkpoint import CheckpointFolder
from sagemaker_sift.trainer.config import read_config
from sagemaker_sift.trainer.job import run_job
from sagemaker_sift.trainer.loop import to_input
from sagemaker_sift.trainer.model import build_model
from sagemaker_sift.trainer.stop import StopRequest
from tests.supports.trainer_data import SIFTING, configure, make_image, make_root, start_train

pytestmark = pytest.mark.gpu


def test_a_sifted_job_learns_on_the_gpu_and_its_model_serves_on_the_cpu(tmp_path: Path) -> None:
    assert torch.cuda.is_available()
    hyperparameters = SIFTING | {"num_training_samples": "128", "epochs": "10"}
    root = make_root(tmp_path, num_images=64, hyperparameters=hyperparameters)
    (root / "checkpoints").mkdir()
    torch.cuda.reset_peak_memory_stats()
    run_job(read_config(ContainerPaths(root), {}), stop=StopRequest(), clock=lambda: 0.0)
    model = load_model(root / "model")
    images_NCHW = torch.stack(
        [
            torch.from_numpy(make_image(class_idx, num_classes=2, size=8, seed=777 + idx))
            for class_idx in (0, 1)
            for idx in range(50)
        ]
    ).permute(0, 3, 1, 2)
    on_cpu_NK = model.probabilities(images_NCHW)
    hp = model.hyperparameters
    network = build_model(hp.num_layers, hp.image_shape, hp.num_classes)
    weights = next((root / "model").glob("*.safetensors"))
    network.load_state_dict(safetensors.torch.load_file(weights))
    with torch.inference_mode():
        on_gpu_NK = network.cuda().eval()(to_input(images_NCHW.cuda())).softmax(1).cpu()
    totals = json.loads((root / "output/data/sifting.json").read_text())
    assert torch.cuda.max_memory_allocated() > 0
    assert model.metrics["validation:accuracy"] > 0.9
    torch.testing.assert_close(on_gpu_NK, on_cpu_NK, atol=5e-3, rtol=0)
    assert totals["scored_kept_fraction"] == pytest.approx(0.5, abs=0.1)


def run(root: Path, **environ: str) -> None:
    run_job(read_config(ContainerPaths(root), environ), stop=StopRequest(), clock=lambda: 0.0)


def test_float16_learns_what_float32_does_and_resumes_with_its_loss_scale(tmp_path: Path) -> None:
    given = {"num_training_samples": "128", "precision_dtype": "float16", "learning_rate": "0.02"}
    root = make_root(tmp_path, num_images=64, hyperparameters=given | {"epochs": "5"})
    (root / "checkpoints").mkdir()
    run(root)
    checkpoint = CheckpointFolder(root / "checkpoints").load()
    assert checkpoint is not None
    assert checkpoint.state["training"]["scaler"]["scale"] > 1
    configure(root, **given, epochs="10")
    run(root)
    assert load_model(root / "model").metrics["validation:accuracy"] > 0.9
    weights = next((root / "model").glob("*.safetensors"))
    dtypes = {value.dtype for value in safetensors.torch.load_file(weights).values()}
    assert torch.float16 not in dtypes


def test_a_batch_too_large_for_the_gpu_is_explained(tmp_path: Path) -> None:
    given = {"image_shape": "3,1024,1024", "num_layers": "152", "resize": "1024"}
    root = make_root(tmp_path, hyperparameters=given | {"mini_batch_size": "32"})
    fraction = 4e9 / torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(fraction)
    try:
        with pytest.raises(TrainingError, match=r"^The GPU has too little memory for mini_batch"):
            run(root)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_all_gpus_of_the_machine_train_one_model(tmp_path: Path) -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    given = SIFTING | {"epochs": "3"}
    root = make_root(tmp_path, hyperparameters=given)
    log, _ = start_train(root).communicate(timeout=600)
    assert f"{torch.cuda.device_count()} processes on 1 machines" in log
    assert load_model(root / "model").classes == ("class0", "class1")
