"""What every session promises, wherever its jobs run; subclass ``SessionSuite``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from sagemaker_sift.backends.errors import translate_errors
from sagemaker_sift.exceptions import NotFoundError
from sagemaker_sift.results.metrics import TrainingJobAnalytics
from sagemaker_sift.results.training_job import TrainingJob
from sagemaker_sift.session import JobSession, adopt_session, get_execution_role

ROLE = "arn:aws:iam::123456789012:role/service-role/trainer"


class SessionSuite:
    """Run on every session; subclasses have a fixture ``session``."""

    other_bucket = "another-bucket"

    def make_bucket(self, name: str) -> None:
        """Make a bucket, where buckets have to be made."""
        raise NotImplementedError

    def write_log(self, session: JobSession, job_name: str, lines: Sequence[str]) -> None:
        """Append to the log of a job that need not exist otherwise."""
        raise NotImplementedError

    def make_folder(self, tmp_path: Path) -> Path:
        """Return a folder with two files."""
        folder = tmp_path / "images"
        (folder / "cat").mkdir(parents=True)
        (folder / "cat" / "1.jpg").write_bytes(b"one")
        (folder / "all.lst").write_bytes(b"list")
        return folder

    def test_a_file_is_uploaded_under_its_name(self, session: JobSession, tmp_path: Path) -> None:
        folder = self.make_folder(tmp_path)
        uri = session.upload_data(str(folder / "all.lst"))
        assert uri.startswith("s3://")
        assert uri.endswith("/data/all.lst")
        assert session.to_local_path(uri).read_bytes() == b"list"

    def test_a_folder_is_uploaded_with_its_folders(
        self, session: JobSession, tmp_path: Path
    ) -> None:
        uri = session.upload_data(str(self.make_folder(tmp_path)), key_prefix="/my/set/")
        assert uri.endswith("/my/set")
        assert session.to_local_path(f"{uri}/cat/1.jpg").read_bytes() == b"one"
        assert session.to_local_path(f"{uri}/all.lst").read_bytes() == b"list"

    def test_a_bucket_may_be_named(self, session: JobSession, tmp_path: Path) -> None:
        self.make_bucket(self.other_bucket)
        uri = session.upload_data(str(self.make_folder(tmp_path)), self.other_bucket, "x")
        assert uri == f"s3://{self.other_bucket}/x"
        assert session.to_local_path(f"{uri}/all.lst").read_bytes() == b"list"

    def test_changed_content_is_uploaded_again(self, session: JobSession, tmp_path: Path) -> None:
        folder = self.make_folder(tmp_path)
        session.upload_data(str(folder))
        (folder / "all.lst").write_bytes(b"tsil")
        uri = session.upload_data(str(folder))
        assert session.to_local_path(f"{uri}/all.lst").read_bytes() == b"tsil"
        assert session.to_local_path(f"{uri}/cat/1.jpg").read_bytes() == b"one"

    def test_nothing_to_upload_is_an_error(self, session: JobSession, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="missing"):
            session.upload_data(str(tmp_path / "missing"))

    def test_uris_are_inputs_as_they_are(self, session: JobSession) -> None:
        assert session.to_input_uri("s3://bucket/data") == "s3://bucket/data"

    def test_roles_are_arns(self, session: JobSession) -> None:
        assert session.expand_role(ROLE) == ROLE
        assert ":role/" in session.default_role()
        assert ":role/" in get_execution_role(session)

    def test_the_output_path_is_a_uri(self, session: JobSession) -> None:
        scheme, _, rest = session.default_output_path().partition("://")
        assert scheme in ({"s3", "file"} if session.allows_file_uris else {"s3"})
        assert rest

    def test_a_job_without_a_log_has_no_lines(self, session: JobSession) -> None:
        lines, position = session.read_log("job")
        assert lines == []
        self.write_log(session, "job", ["first"])
        assert session.read_log("job", position)[0] == ["first"]

    def test_a_log_comes_in_order_and_goes_on(self, session: JobSession) -> None:
        self.write_log(session, "job", ["one", "two"])
        lines, first = session.read_log("job")
        assert lines == ["one", "two"]
        assert session.read_log("job", first)[0] == []
        self.write_log(session, "job", ["three"])
        lines, second = session.read_log("job", first)
        assert lines == ["three"]
        assert session.read_log("job", second)[0] == []
        assert session.read_log("job")[0] == ["one", "two", "three"]
        assert TrainingJob("job", session).read_log_tail(2) == ["two", "three"]

    def test_an_unknown_job_is_not_found(self, session: JobSession) -> None:
        with pytest.raises(NotFoundError, match="nothing"):
            TrainingJob("nothing", session).describe()
        with pytest.raises(NotFoundError) as caught, translate_errors():
            session.sagemaker_client.describe_training_job(TrainingJobName="nothing")
        assert caught.value.operation == "DescribeTrainingJob"
        assert caught.value.code == "ValidationException"

    def test_places_for_people_name_the_job(self, session: JobSession) -> None:
        assert "my-job" in session.describe_log("my-job")
        assert "my-job" in session.describe_metrics("my-job")

    def test_a_session_explains_itself(self, session: JobSession) -> None:
        lines = str(session.explain()).splitlines()
        assert lines[0].split() == ["setting", "value", "source"]
        assert "default_bucket" in str(session.explain())
        assert len(lines) >= 3

    def test_waiting_has_a_pace(self, session: JobSession) -> None:
        assert 0 < session.poll_s < 60
        assert isinstance(session.stops_on_interrupt, bool)

    def test_a_session_is_its_own_adoption(self, session: JobSession) -> None:
        assert adopt_session(session) is session
        assert TrainingJobAnalytics("x", sagemaker_session=session).name == "x"
