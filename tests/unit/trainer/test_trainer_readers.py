"""What every reader of images promises; subclass ``ReaderSuite``."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from sagemaker_sift.trainer.data import record_file
from sagemaker_sift.trainer.data.image_files import ImageFiles
from sagemaker_sift.trainer.data.image_list import read_image_list
from sagemaker_sift.trainer.data.image_set import ImageReader, ImageSet
from sagemaker_sift.trainer.data.label import LabelRule
from sagemaker_sift.trainer.data.record_file import RecordFile, read_record_files
from tests.supports.recordio import MAGIC_BYTES, write_image_records

IMAGES = [b"first", b"", b"third, " + MAGIC_BYTES * 2, b"\xff\xd8fourth", b"5" * 5000, b"six"]


class ReaderSuite:
    """``reader`` holds ``IMAGES`` in this order."""

    names: ClassVar[list[str]]

    @pytest.fixture
    def reader(self, tmp_path: Path) -> ImageReader:
        raise NotImplementedError

    def test_it_gives_every_image_in_any_order(self, reader: ImageReader) -> None:
        assert len(reader) == len(IMAGES)
        for idx in (5, 0, 2, 2, 1, 3, 4):
            data = reader.read(idx)
            assert (data.dtype, data.ndim, data.tobytes()) == (np.uint8, 1, IMAGES[idx])

    def test_it_names_every_image(self, reader: ImageReader, tmp_path: Path) -> None:
        assert [reader.name(idx) for idx in range(len(reader))] == [
            f"{tmp_path}/{name}" for name in self.names
        ]

    def test_what_is_not_there_is_an_index_error(self, reader: ImageReader) -> None:
        for idx in (-1, len(IMAGES)):
            with pytest.raises(IndexError):
                reader.read(idx)
            with pytest.raises(IndexError):
                reader.name(idx)

    def test_a_pickled_copy_reads_and_is_small(self, reader: ImageReader) -> None:
        pickled = pickle.dumps(reader)
        copy = pickle.loads(pickled)
        assert [copy.read(idx).tobytes() for idx in range(len(copy))] == IMAGES
        assert len(pickled) < 4000

    def test_forked_processes_and_threads_share_it(self, reader: ImageReader) -> None:
        order = [idx % len(IMAGES) for idx in range(200)]
        with ThreadPoolExecutor(4) as pool:
            assert [d.tobytes() for d in pool.map(reader.read, order)] == [
                IMAGES[idx] for idx in order
            ]
        context = get_context("fork")
        queue = context.SimpleQueue()
        processes = [
            context.Process(target=lambda: queue.put([bytes(reader.read(i)) for i in range(6)]))
            for _ in range(2)
        ]
        for process in processes:
            process.start()
        assert [queue.get() for _ in processes] == [IMAGES, IMAGES]
        for process in processes:
            process.join()

    def test_a_selection_reads_and_names_its_own(self, reader: ImageReader) -> None:
        labels = np.arange(len(IMAGES))
        whole = ImageSet(channel="train", classes=("0", "1"), reader=reader, labels=labels)
        part = whole.select([4, 1])
        assert [part.reader.read(idx).tobytes() for idx in range(len(part))] == [
            IMAGES[4],
            IMAGES[1],
        ]
        assert part.reader.name(1) == reader.name(1)
        assert part.labels.tolist() == [4, 1]


def write_files(folder: Path) -> list[Path]:
    paths = [folder / f"{idx} a.jpg" for idx in range(len(IMAGES))]
    for path, image in zip(paths, IMAGES, strict=True):
        path.write_bytes(image)
    return paths


class TestImageFiles(ReaderSuite):
    names: ClassVar = [f"{idx} a.jpg" for idx in range(len(IMAGES))]

    @pytest.fixture
    def reader(self, tmp_path: Path) -> ImageReader:
        return ImageFiles(write_files(tmp_path))

    def test_a_file_that_is_gone_is_an_os_error(self, reader: ImageReader, tmp_path: Path) -> None:
        (tmp_path / "0 a.jpg").unlink()
        with pytest.raises(FileNotFoundError):
            reader.read(0)

    def test_there_may_be_none_and_names_may_be_any_bytes(self) -> None:
        assert len(ImageFiles([])) == 0
        assert ImageFiles(["a", "\udcff/b", "", "c"]).name(1) == "\udcff/b"


class TestImageList(ReaderSuite):
    names: ClassVar = TestImageFiles.names

    @pytest.fixture
    def reader(self, tmp_path: Path) -> ImageReader:
        paths = write_files(tmp_path)
        lines = [f"{idx}\t0\t{path.name}" for idx, path in enumerate(paths)]
        (tmp_path / "a.lst").write_text("\n".join(lines))
        return read_image_list(
            tmp_path / "a.lst",
            channel="train",
            list_channel="train_lst",
            root=tmp_path,
            rule=LabelRule(2, False),
        ).reader


class TestRecordReader(ReaderSuite):
    names: ClassVar = [
        *(f"a.rec record {idx}" for idx in range(4)),
        "b.rec record 0",
        "b.rec record 1",
    ]

    @pytest.fixture
    def reader(self, tmp_path: Path) -> ImageReader:
        images = list(zip([0, 1, [1.0], 0, 1, 0], IMAGES, strict=True))
        paths = [
            write_image_records(tmp_path / "a.rec", images[:4]),
            write_image_records(tmp_path / "b.rec", images[4:]),
        ]
        return read_record_files(paths, channel="train", rule=LabelRule(2, False)).reader

    def test_a_file_that_shrinks_is_an_error_and_no_crash(
        self, reader: ImageReader, tmp_path: Path
    ) -> None:
        (tmp_path / "b.rec").write_bytes(b"")
        for idx in (4, 5):
            with pytest.raises(ValueError, match="the data ends"):
                reader.read(idx)
        assert reader.read(0).tobytes() == IMAGES[0]

    def test_a_file_that_becomes_another_is_an_error(
        self, reader: ImageReader, tmp_path: Path
    ) -> None:
        (tmp_path / "b.rec").write_bytes(b"x" * 10_000)
        with pytest.raises(ValueError, match="magic number"):
            reader.read(4)


class TestRecordReaderOfManyFiles(TestRecordReader):
    @pytest.fixture(autouse=True)
    def few_open_files(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(record_file, "MAX_OPEN_FILES", 1)


def test_files_are_closed_with_their_reader(tmp_path: Path) -> None:
    descriptors = Path("/proc/self/fd")
    before = len(list(descriptors.iterdir()))
    path = write_image_records(tmp_path / "a.rec", [(0, b"x")])
    file = RecordFile(path, is_kept_open=True)
    assert len(list(descriptors.iterdir())) == before + 1
    del file
    assert len(list(descriptors.iterdir())) == before
