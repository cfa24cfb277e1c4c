"""The wheel alone, in an environment with nothing of the checkout in it, trains."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(1200), pytest.mark.enable_socket]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_the_packages_and_the_program_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "sagemaker_sift/entry_points/train" in names
    assert "sagemaker_sift/py.typed" in names
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"sagemaker_sift", "smart_sifting"}


def test_an_installed_wheel_trains_a_sifted_model(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    constraints = str(ROOT / "constraints.txt")
    command = [
        *(str(python), "-m", "pip", "install", "--quiet", "--constraint", constraints),
        f"{wheel}[local]",
    ]
    subprocess.run(command, check=True, cwd=tmp_path)
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(environment / "bin" / "sagemaker-sift"), "quickstart", "-p", "epochs=3"],
        cwd=tmp_path,
        env=variables,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kept while sifting" in done.stdout
    assert "(Completed)" in done.stdout
    where = "import sagemaker_sift; print(sagemaker_sift.__file__)"
    output = subprocess.run(
        [str(python), "-c", where], check=True, cwd=tmp_path, capture_output=True, text=True
    )
    assert str(environment) in output.stdout


def test_a_core_install_brings_no_torch_and_says_what_is_missing(
    wheel: Path, tmp_path: Path
) -> None:
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=True)
    python = str(environment / "bin" / "python")
    constraints = str(ROOT / "constraints.txt")
    command = [python, "-m", "pip", "install", "-q", "--constraint", constraints, str(wheel)]
    subprocess.run(command, check=True, cwd=tmp_path)
    program = """
import importlib.util
assert importlib.util.find_spec("torch") is None
from sagemaker_sift import AlgorithmEstimator, LocalSession
LocalSession("jobs")
import sagemaker_sift
try:
    sagemaker_sift.write_default_dataset
except sagemaker_sift.MissingDependencyError as error:
    print(error)
"""
    done = subprocess.run(
        [python, "-c", program], check=True, cwd=tmp_path, capture_output=True, text=True
    )
    assert "pip install 'sagemaker-sift[local]'" in done.stdout
