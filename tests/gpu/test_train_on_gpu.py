"""The same job on a CUDA device."""

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from sagemaker_sift.contract.container import ContainerPaths
from sagemaker_sift.trainer import load_model
from sagemaker_sift.trainer.config import read_config
from sagemaker_sift.trainer.job import run_job
from sagemaker_sift.trainer.loop import to_input
from sagemaker_sift.trainer.model import build_model
from sagemaker_sift.trainer.stop import StopRequest
from tests.supports.trainer_data import make_image, make_root

pytestmark = pytest.mark.gpu


def test_a_sifted_job_learns_on_the_gpu_and_its_model_serves_on_the_cpu(tmp_path: Path) -> None:
    assert torch.cuda.is_available()
    hyperparameters = {"num_training_samples": "128", "epochs": "10", "beta_value": "1"}
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
