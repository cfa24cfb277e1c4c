import errno
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch

from sagemaker_sift.trainer.checkpoint import CheckpointFolder
from sagemaker_sift.trainer.errors import TrainingError
from sagemaker_sift.trainer.state import pack_state, unpack_state
from sagemaker_sift.trainer.storage import build_storage_error, write_atomically


class Folders:
    """A model folder and a checkpoint folder, filled epoch by epoch."""

    def __init__(self, root: Path) -> None:
        self.model = root / "model"
        self.model.mkdir()
        self.writes_until_full: int | None = None
        self.checkpoints = CheckpointFolder(root / "checkpoints", write=self.write)

    def write(self, path: Path, chunks: Iterable[bytes]) -> None:
        """Write as the trainer does, on a disk that fills up."""
        if self.writes_until_full == 0:
            raise build_storage_error(path, OSError(errno.ENOSPC, ""))
        if self.writes_until_full:
            self.writes_until_full -= 1
        write_atomically(path, chunks)

    def save(self, num_epochs: int, *, best: int) -> None:
        name = f"image-classification-{best:04d}.safetensors"
        (self.model / name).write_bytes(f"weights {best}".encode())
        state = {"epoch": num_epochs, "values": torch.full((3,), float(num_epochs))}
        self.checkpoints.save((num_epochs, 0), state, model_folder=self.model, files=(name,))

    def names(self) -> list[str]:
        root = self.checkpoints.path
        return sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


def loaded(folders: Folders) -> tuple[int, Any]:
    checkpoint = folders.checkpoints.load()
    assert checkpoint is not None
    assert checkpoint.position == (checkpoint.state["epoch"], 0)
    return checkpoint.position[0], checkpoint.state["values"].tolist()


def test_the_newest_checkpoint_is_loaded(folders: Folders) -> None:
    assert folders.checkpoints.load() is None
    for number in (1, 2, 11):
        folders.save(number, best=number)
    assert loaded(folders) == (11, [11.0, 11.0, 11.0])


def test_two_checkpoints_and_the_model_files_they_need_are_kept(folders: Folders) -> None:
    for number, best in ((1, 1), (2, 2), (3, 2), (4, 2)):
        folders.save(number, best=best)
    assert folders.names() == [
        "checkpoint-0003.json",
        "checkpoint-0003.safetensors",
        "checkpoint-0004.json",
        "checkpoint-0004.safetensors",
        "model/image-classification-0002.safetensors",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "checkpoint-0002.json",
        "checkpoint-0002.safetensors",
        "model/image-classification-0002.safetensors",
    ],
)
@pytest.mark.parametrize("damage", ["cut", "flip", "gone"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    folders: Folders, name: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    folders.save(1, best=1)
    folders.save(2, best=2)
    path = folders.checkpoints.path / name
    data = path.read_bytes()
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(data[: len(data) // 2])
    else:
        middle = data.index(b"sha256") + 12 if name.endswith("json") else len(data) // 2
        path.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
    assert loaded(folders) == (1, [1.0, 1.0, 1.0])
    assert ("checkpoint-0002.json" in caplog.text) or (damage == "gone" and name.endswith("json"))


def test_damaged_checkpoints_ahead_do_not_displace_what_is_saved(folders: Folders) -> None:
    for num_epochs in (8, 9):
        folders.save(num_epochs, best=1)
        (folders.checkpoints.path / f"checkpoint-{num_epochs:04d}.safetensors").write_bytes(b"x")
    folders.save(3, best=1)
    assert folders.checkpoints.load() is not None
    assert [path.name for path in folders.checkpoints.path.glob("*.json")] == [
        "checkpoint-0003.json"
    ]


def test_a_checkpoint_cannot_name_files_outside(folders: Folders) -> None:
    folders.save(1, best=1)
    path = folders.checkpoints.path / "checkpoint-0001.json"
    description = json.loads(path.read_text())
    description["model_sha256"] = {"../../secret": "0" * 64}
    path.write_text(json.dumps(description))
    assert folders.checkpoints.load() is None


@pytest.mark.parametrize("writes_until_full", [0, 1, 2])
def test_a_disk_that_fills_up_leaves_the_last_checkpoint(
    folders: Folders, writes_until_full: int
) -> None:
    folders.save(1, best=1)
    before = folders.names()
    folders.writes_until_full = writes_until_full
    with pytest.raises(TrainingError, match="is full"):
        folders.save(2, best=2)
    assert loaded(folders) == (1, [1.0, 1.0, 1.0])
    assert set(before) <= set(folders.names())
    folders.writes_until_full = None
    folders.save(2, best=2)
    assert loaded(folders) == (2, [2.0, 2.0, 2.0])


def test_a_model_file_of_the_same_name_is_replaced_if_it_differs(folders: Folders) -> None:
    folders.save(1, best=1)
    (folders.checkpoints.path / "model/image-classification-0002.safetensors").write_text("other")
    folders.save(2, best=2)
    assert loaded(folders) == (2, [2.0, 2.0, 2.0])


def test_model_files_come_back(folders: Folders, tmp_path: Path) -> None:
    folders.save(3, best=2)
    checkpoint = folders.checkpoints.load()
    assert checkpoint is not None
    folders.checkpoints.restore_model_files(checkpoint, tmp_path / "new")
    assert (tmp_path / "new/image-classification-0002.safetensors").read_text() == "weights 2"


def test_state_comes_back_as_it_was() -> None:
    state = {
        "a": [1, 2.5, None, True, "x"],
        0: {"t": (torch.arange(3), [torch.zeros(2, dtype=torch.uint8)])},
        "nan": float("inf"),
        "empty": {},
    }
    tensors, rest = pack_state(state)
    restored = unpack_state(tensors, json.loads(json.dumps(rest)))
    assert repr(restored) == repr(state)


def test_state_without_a_json_form_is_refused() -> None:
    with pytest.raises(TypeError, match=r"State at 'a\.0' is a set"):
        pack_state({"a": [{1}]})
