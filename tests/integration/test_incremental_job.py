"""Listed images, then a second job from the first one's model: through the client, locally."""

from __future__ import annotations

from pathlib import Path

import pytest

from sagemaker_sift import AlgorithmEstimator, JobFailedError, LocalSession, TrainingInput
from sagemaker_sift.trainer import load_model
from tests.supports.trainer_data import TINY, fill_channel


def write_list(folder: Path, images: Path) -> Path:
    folder.mkdir()
    paths = sorted(path.relative_to(images) for path in images.rglob("*.jpg"))
    lines = [f"{idx}\t{float(path.parts[0][-1])}\t{path}" for idx, path in enumerate(paths)]
    (folder / "images.lst").write_text("\n".join(lines) + "\n")
    return folder


def build_estimator(root: Path, **changes: str) -> AlgorithmEstimator:
    return AlgorithmEstimator(
        "sift-image-classification",
        instance_type="ml.m5.large",
        sagemaker_session=LocalSession(root),
        hyperparameters=TINY | changes,
        environment={"OMP_NUM_THREADS": "1"},
    )


def test_a_job_on_lists_is_continued_by_one_from_its_model(tmp_path: Path) -> None:
    train = fill_channel(tmp_path / "train images")
    validation = fill_channel(tmp_path / "validation", num_images=5, seed=1)
    inputs = {
        name: TrainingInput(str(path), content_type="application/x-image")
        for name, path in {
            "train": train,
            "train_lst": write_list(tmp_path / "train_lst", train),
            "validation": validation,
            "validation_lst": write_list(tmp_path / "validation_lst", validation),
        }.items()
    }
    first = build_estimator(tmp_path / "runs", beta_value="1")
    first.fit(inputs, logs=False)
    model = load_model(str(first.model_data))
    assert model.classes == ("0", "1")

    still = build_estimator(tmp_path / "runs", learning_rate="0", momentum="0", epochs="1")
    still.fit(inputs | {"model": TrainingInput(str(first.model_data))}, logs=False)
    continued = load_model(str(still.model_data))
    files = sorted(validation.rglob("*.jpg"))
    images = continued.read_images(files, fit="crop")
    before, after = (each.probabilities(images).argmax(1) for each in (model, continued))
    assert (before == after).float().mean() > 0.9

    other = build_estimator(tmp_path / "runs", num_layers="32")
    with pytest.raises(JobFailedError, match=r"num_layers"):
        other.fit(inputs | {"model": TrainingInput(str(first.model_data))}, logs=False)
