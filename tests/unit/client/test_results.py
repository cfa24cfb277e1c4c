from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from sagemaker_sift import ArtifactError, LocalSession, TrainingInput, TrainingJobAnalytics
from sagemaker_sift.backends.local.archive import pack_folder
from sagemaker_sift.backends.local.metric_log import METRICS_NAME, read_points, write_point
from sagemaker_sift.contract.metrics import MetricPoint
from sagemaker_sift.inputs import read_channel
from sagemaker_sift.results.artifacts import read_member
from sagemaker_sift.results.metrics import format_table
from sagemaker_sift.results.progress import EpochLines, LogView, SilentView, choose_view

LINES = [
    "Epoch[0] Batch [4]\tSpeed: 100.00 samples/sec\taccuracy=0.5",
    "Epoch[0] Train-accuracy=0.500000",
    "Epoch[0] Sifting-kept_fraction=0.750000",
    "Epoch[0] Time cost=2.000",
    "Epoch[0] Validation-accuracy=0.900000",
    "Epoch[1] Train-accuracy=0.600000",
    "Epoch[1] Validation-accuracy=0.950000",
]


def write_job(session: LocalSession, name: str) -> None:
    folder = session.root / "training-jobs" / name
    folder.mkdir(parents=True)
    with (folder / METRICS_NAME).open("w") as file:
        for idx, value in enumerate([0.5, 0.75, 0.7]):
            write_point(file, MetricPoint("validation:accuracy", value, 100.0 + idx))
            write_point(file, MetricPoint("train:accuracy", value / 2, 100.5 + idx))
        file.write('{"name": "validation:accuracy", "val')


def test_metrics_come_back_as_values_rows_and_a_frame(tmp_path: Path) -> None:
    session = LocalSession(tmp_path)
    write_job(session, "job")
    analytics = TrainingJobAnalytics("job", sagemaker_session=session)
    assert analytics.values("validation:accuracy") == [0.5, 0.75, 0.7]
    assert analytics.last("validation:accuracy") == 0.7
    assert analytics.best("validation:accuracy") == 0.75
    assert analytics.best("nothing") is None
    assert analytics.rows()[1] == {
        "epoch": 1,
        "validation:accuracy": 0.75,
        "train:accuracy": 0.375,
    }
    frame = analytics.dataframe()
    assert list(frame.columns) == ["timestamp", "metric_name", "value"]
    assert frame["timestamp"].tolist() == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
    only = TrainingJobAnalytics("job", ["train:accuracy"], session)
    assert set(only.dataframe()["metric_name"]) == {"train:accuracy"}


def test_a_job_without_metrics_has_none(tmp_path: Path) -> None:
    assert read_points(tmp_path) == []
    assert TrainingJobAnalytics("x", sagemaker_session=LocalSession(tmp_path)).rows() == []


def test_a_table_is_aligned() -> None:
    text = format_table([{"epoch": 0, "a": 0.5}, {"epoch": 10, "a": 1437.0, "b": 2}])
    assert text.splitlines() == [
        "epoch         a  b",
        "    0  0.500000   ",
        "   10      1437  2",
    ]


def test_lines_in_a_pipe_tell_status_and_epochs() -> None:
    stream = io.StringIO()
    view = EpochLines(stream, 2)
    view.show_status("Training")
    for line in LINES:
        view.show_line(line)
    view.show_status("Completed")
    view.close()
    assert stream.getvalue().splitlines() == [
        "Training",
        "epoch 1/2: train 0.5000, validation 0.9000, kept 75.0%, time 2.0 s",
        "epoch 2/2: train 0.6000, validation 0.9500",
        "Completed",
    ]


def test_the_view_follows_the_request(capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(choose_view(False, {}), SilentView)
    assert isinstance(choose_view(None, {}), SilentView)
    assert isinstance(choose_view(True, {"epochs": "3"}), EpochLines)
    view = choose_view("All", {})
    assert isinstance(view, LogView)
    view.show_line("a line")
    assert capsys.readouterr().out == "a line\n"


def test_a_member_is_read_without_unpacking(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "a.json").write_text("{}")
    (folder / "link").symlink_to("/etc/passwd")
    archive = tmp_path / "out" / "x.tar.gz"
    pack_folder(folder, archive)
    assert read_member(archive, "data/a.json") == b"{}"
    assert read_member(archive, "link") is None
    assert read_member(archive, "other") is None
    with tarfile.open(archive) as tar:
        assert [(entry.uid, entry.mtime) for entry in tar] == [(0, 0), (0, 0)]


def test_a_broken_archive_is_an_artifact_error(tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz").write_bytes(b"no archive")
    for path in (tmp_path / "x.tar.gz", tmp_path / "missing"):
        with pytest.raises(ArtifactError, match="cannot be read"):
            read_member(path, "a")


def test_an_archive_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    archive = tmp_path / "x.tar.gz"
    archive.write_bytes(b"old")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a").write_text("new")
    (folder / "b").symlink_to("a")
    folder.joinpath("c").mkdir()
    broken = folder / "c" / "gone"
    broken.write_text("x")
    original = tarfile.TarFile.add

    def add(self: tarfile.TarFile, name: object, *args: object, **kwargs: object) -> None:
        if str(name).endswith("gone"):
            raise OSError(28, "No space left on device")
        original(self, name, *args, **kwargs)  # type: ignore[arg-type]  # passed through as given

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tarfile.TarFile, "add", add)
        with pytest.raises(OSError, match="No space left"):
            pack_folder(folder, archive)
    assert archive.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_channel_may_be_a_path_a_uri_or_an_input(tmp_path: Path) -> None:
    class SdkInput:
        """Shaped like the TrainingInput of the SageMaker SDK."""

        def __init__(self) -> None:
            source = {"S3DataSource": {"S3Uri": "s3://b/k"}}
            self.config = {"DataSource": source, "ContentType": "a/b"}

    assert read_channel(tmp_path)["DataSource"]["S3DataSource"]["S3Uri"] == str(tmp_path)
    assert read_channel(SdkInput()) == SdkInput().config
    with pytest.raises(TypeError, match="no channel"):
        read_channel(3)


def test_a_training_input_says_all_that_it_was_given() -> None:
    config = TrainingInput(
        "s3://b/manifest",
        distribution="ShardedByS3Key",
        compression="Gzip",
        content_type="application/x-recordio",
        record_wrapping="RecordIO",
        s3_data_type="AugmentedManifestFile",
        instance_groups=["g"],
        input_mode="Pipe",
        attribute_names=["source-ref", "class"],
        shuffle_config=7,
    ).config
    assert config == {
        "DataSource": {
            "S3DataSource": {
                "S3DataType": "AugmentedManifestFile",
                "S3Uri": "s3://b/manifest",
                "S3DataDistributionType": "ShardedByS3Key",
                "InstanceGroupNames": ["g"],
                "AttributeNames": ["source-ref", "class"],
            }
        },
        "CompressionType": "Gzip",
        "ContentType": "application/x-recordio",
        "RecordWrapperType": "RecordIO",
        "InputMode": "Pipe",
        "ShuffleConfig": {"Seed": 7},
    }


def test_uploads_are_readable_under_their_s3_uri(tmp_path: Path) -> None:
    session = LocalSession(tmp_path / "root")
    (tmp_path / "data" / "cat").mkdir(parents=True)
    (tmp_path / "data" / "cat" / "1.jpg").write_bytes(b"x")
    uri = session.upload_data(str(tmp_path / "data"), key_prefix="train")
    assert uri == "s3://sagemaker-sift-local/train"
    assert (session.to_local_path(uri) / "cat" / "1.jpg").read_bytes() == b"x"
    single = session.upload_data(str(tmp_path / "data" / "cat" / "1.jpg"), bucket="b")
    assert session.to_local_path(single).read_bytes() == b"x"
