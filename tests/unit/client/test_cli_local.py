"""``sagemaker-sift local``, on jobs that really ran."""

from __future__ import annotations

import io
import json
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sagemaker_sift.backends.local.client import LocalSageMaker
from sagemaker_sift.backends.local.disk import JobCleaner
from sagemaker_sift.backends.local.lock import acquire_lock
from sagemaker_sift.backends.local.store import STORE_NAME, RecordStore
from sagemaker_sift.cli.main import main
from sagemaker_sift.session import LocalSession
from tests.supports.dummy_algorithm import (
    build_training_request,
    build_tuning_request,
    list_training_jobs,
    register,
    wait_for_training_job,
    wait_for_tuning_job,
    wait_until,
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with an ended training job and an ended tuning job of two training jobs."""
    root = tmp_path_factory.mktemp("root")
    client = LocalSageMaker(root)
    register(client, root)
    client.create_training_job(**build_training_request(root, "first", x="0.4", epochs="3"))
    client.create_hyper_parameter_tuning_job(**build_tuning_request(root, "search", max_jobs=2))
    wait_for_training_job(client, "first")
    wait_for_tuning_job(client, "search")
    client.close()
    return root


@pytest.fixture
def client(tmp_path: Path) -> Iterator[LocalSageMaker]:
    client = LocalSageMaker(tmp_path)
    register(client, tmp_path)
    yield client
    client.close()


def run(action: str, root: Path, *arguments: str) -> int:
    return main(["local", action, "--root", str(root), *arguments])


def test_the_list_shows_every_job_and_what_all_take(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("list", root) == 0
    *table, total = capsys.readouterr().out.splitlines()
    assert table[0].split() == ["kind", "name", "status", "created", "time", "result", "size"]
    rows = [line.split() for line in table[1:]]
    assert [row[0] for row in rows] == ["tuning", "training", "training", "training"]
    assert [row[1][:6] for row in rows] == ["search", "search", "search", "first"]
    assert all(row[2] == "Completed" for row in rows)
    assert table[2].startswith("training    search-00")  # indented, under its tuning job
    assert "loss 0.3433" in table[-1]  # (0.4 - 0.3)^2 + 1/3, the last epoch
    assert total.endswith(f"in 4 folders of jobs under {root}")


def test_the_list_can_be_narrowed(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = []
    for arguments in (
        ["--tuning", "search"],
        ["--name-contains", "IRS"],
        ["--status", "Failed"],
        ["--max", "1"],
    ):
        assert run("list", root, *arguments) == 0
        lines = capsys.readouterr().out.splitlines()
        names.append([line.split()[1] for line in lines[:-1] if line.split()[0] != "kind"])
    assert len(names[0]) == 2
    assert all(name.startswith("search-00") for name in names[0])
    assert names[1:] == [["first"], ["jobs"], ["search"]]  # "no jobs"


def test_an_unknown_tuning_job_is_told(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list", root, "--tuning", "other") == 1
    assert "'other' not found" in capsys.readouterr().err


def test_a_training_job_is_described(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("describe", root, "first") == 0
    text = capsys.readouterr().out
    assert "status        Completed, Completed" in text
    assert str(root / "training-jobs" / "first" / "log.txt") in text
    assert "  x       0.4" in text
    assert "  loss  0.343333" in text


def test_a_tuning_job_is_described(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("describe", root, "search") == 0
    text = capsys.readouterr().out
    assert "Completed: 2 of 2 completed" in text
    assert re.search(r"best +loss 1\.[0-9]+ \(search-00[12]-[0-9a-f]{8}: x=0\.", text)


def test_a_description_is_printed_as_the_api_has_it(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("describe", root, "search", "--json") == 0
    description = json.loads(capsys.readouterr().out)
    assert description["HyperParameterTuningJobStatus"] == "Completed"
    assert description["CreationTime"].endswith("+00:00")
    assert "Local" not in description


def test_a_job_that_is_not_there_is_told_with_what_to_do(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("describe", root, "nothing") == 1
    assert "local list" in capsys.readouterr().err


def test_logs_are_printed_whole_or_their_end(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("logs", root, "first") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert run("logs", root, "first", "--lines", "2") == 0
    assert capsys.readouterr().out.splitlines() == lines[-2:]


def test_a_log_is_followed_to_the_end_of_its_job(
    client: LocalSageMaker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request = build_training_request(tmp_path, "waits", mode="wait", epochs="2")
    client.create_training_job(**request)
    log = tmp_path / "training-jobs" / "waits" / "log.txt"
    wait_until(lambda: log.exists() and "loss=" in log.read_text())
    (tmp_path / "training-jobs" / "waits" / "go").touch()
    assert run("logs", tmp_path, "waits", "--follow") == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert (
        client.describe_training_job(TrainingJobName="waits")["TrainingJobStatus"] == "Completed"
    )


def test_a_tuning_job_has_no_log_but_its_training_jobs_have(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("logs", root, "search") == 1
    assert capsys.readouterr().err.count("search-00") == 2


def test_jobs_are_stopped_and_ended_ones_are_told(
    client: LocalSageMaker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    static = {"mode": "wait"}
    client.create_hyper_parameter_tuning_job(
        **build_tuning_request(tmp_path, "search", static=static)
    )
    wait_until(lambda: len(list_training_jobs(client, "search")) == 2)
    assert run("clean", tmp_path, "search", "--yes") == 1
    child = list_training_jobs(client, "search")[0]["TrainingJobName"]
    assert run("clean", tmp_path, child, "--yes") == 1
    errors = capsys.readouterr().err.splitlines()
    assert errors == [
        f"error: {name} runs; stop it and wait for its end first" for name in ("search", child)
    ]
    assert run("stop", tmp_path, "search") == 0
    assert wait_for_tuning_job(client, "search")["HyperParameterTuningJobStatus"] == "Stopped"
    for job in list_training_jobs(client, "search"):
        assert job["TrainingJobStatus"] == "Stopped"
        model = tmp_path / "training-jobs" / job["TrainingJobName"] / "output" / "model.tar.gz"
        assert model.exists()
    assert run("stop", tmp_path, "search") == 0
    assert capsys.readouterr().out.splitlines() == [
        "search: stopping",
        "search: has ended (Stopped)",
    ]


def test_nothing_is_cleaned_without_an_answer(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert run("clean", root) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "nothing deleted"
    assert run("clean", root, "--dry-run") == 0
    assert "would delete 4 jobs" in capsys.readouterr().out
    assert run("clean", root, "--older-than", "1", "--yes") == 0
    assert capsys.readouterr().out.splitlines() == ["nothing to clean"]
    assert len(JobCleaner(root).find_jobs()) == 4


def test_a_name_that_is_not_there_cleans_nothing(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("clean", root, "first", "other", "--yes") == 1
    assert "no job 'other'" in capsys.readouterr().err
    assert len(JobCleaner(root).find_jobs()) == 4


def test_cleaning_takes_ended_jobs_with_everything_and_nothing_else(
    client: LocalSageMaker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("kept", "gone", "through-api"):
        client.create_training_job(**build_training_request(tmp_path, name))
        wait_for_training_job(client, name)
    client.create_training_job(**build_training_request(tmp_path, "runs", mode="wait"))
    client.delete_training_job(TrainingJobName="through-api")
    (tmp_path / "s3" / "bucket").mkdir(parents=True)
    jobs = tmp_path / "training-jobs"
    (jobs / "left" / "ml").mkdir(parents=True)
    (jobs / "starting").mkdir()
    lock = acquire_lock(jobs / "starting" / "lock")
    assert lock is not None
    assert run("clean", tmp_path, "gone", "--yes") == 0
    assert not (jobs / "gone").exists()
    assert (jobs / "kept" / "output" / "model.tar.gz").exists()
    assert run("clean", tmp_path, "--yes") == 1  # what starts is not deleted, and told
    os.close(lock)
    assert "starting" in capsys.readouterr().err
    left = sorted(path.name for path in jobs.iterdir())
    assert left == ["runs", "starting", "through-api"]
    assert (jobs / "through-api" / "output" / "model.tar.gz").exists()
    assert (tmp_path / "s3" / "bucket").is_dir()
    names = [job["TrainingJobName"] for job in client.list_training_jobs()["TrainingJobSummaries"]]
    assert names == ["runs"]
    (jobs / "runs" / "go").touch()
    wait_for_training_job(client, "runs")


def test_a_job_that_was_resumed_meanwhile_keeps_its_training_jobs(
    client: LocalSageMaker, tmp_path: Path
) -> None:
    client.create_hyper_parameter_tuning_job(
        **build_tuning_request(tmp_path, "search", max_jobs=1, parallel=1)
    )
    wait_for_tuning_job(client, "search")
    cleaner = JobCleaner(tmp_path)
    child = next(job for job in cleaner.find_jobs() if job.kind == "training")
    tuning_jobs = RecordStore(tmp_path / STORE_NAME).tuning_jobs
    tuning_jobs.update("search", lambda job: job.update(HyperParameterTuningJobStatus="Stopping"))
    assert not cleaner.delete(child)
    tuning_jobs.update("search", lambda job: job.update(HyperParameterTuningJobStatus="Stopped"))
    assert cleaner.delete(child)
    assert not child.folder.exists()
    assert not any((tmp_path / ".trash").glob("*"))


def test_the_end_of_a_long_log_is_found_without_reading_it_all(tmp_path: Path) -> None:
    session = LocalSession(tmp_path)
    path = Path(session.describe_log("job"))
    path.parent.mkdir(parents=True)
    lines = [f"line {idx} " + "x" * 90 for idx in range(3000)]
    path.write_text("\n".join(lines) + "\nunfinished")
    end = session.find_log_end("job")
    assert end == path.stat().st_size - len("unfinished")
    assert session.read_last_lines("job", 2) == lines[-2:]
    assert session.read_last_lines("job", 2500) == lines[-2500:]
    assert session.read_last_lines("job", 9999) == lines
    with path.open("a") as file:
        file.write(" line\n")
    assert session.read_last_lines("job", 1, end) == lines[-1:]
    assert session.read_log("job", end)[0] == ["unfinished line"]
    assert session.find_log_end("none") == 0
    assert session.read_last_lines("none", 3) == []
    assert session.read_last_lines("job", 0) == []


def test_jobs_of_every_age_are_told_by_their_end(root: Path) -> None:
    jobs = JobCleaner(root).find_jobs()
    assert {job.kind for job in jobs} == {"training", "tuning"}
    assert all(0 < job.creation_time <= job.end_time <= time.time() for job in jobs)
    assert all(job.num_bytes > 0 for job in jobs if job.kind == "training")


@pytest.mark.parametrize(
    "action",
    [["list"], ["describe", "x"], ["logs", "x"], ["stop", "x"], ["clean", "--yes"]],
    ids=lambda action: action[0],
)
@pytest.mark.parametrize("root", ["typo", "", "file"])
def test_looking_into_a_root_does_not_make_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    action: list[str],
    root: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    assert main(["local", *action, "--root", root]) == 1
    assert f"there is no folder {root!r}; name with --root" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_default_root_is_not_made_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["local", "list"]) == 0
    assert capsys.readouterr().out == "no jobs\n"
    assert main(["local", "clean"]) == 1
    assert "there is no folder '~/.sagemaker-sift/local'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["list", "--status", "Bogus"], "'Bogus', but must be one of InProgress, Stopping, Com"),
        (["list", "--status", "failed"], "Did you mean 'Failed'?"),
        (["list", "--max", "-1"], "--max: is '-1', but must be a whole number from 0 on"),
        (["list", "--max", "1.5"], "--max: is '1.5', but must be a whole number from 0 on"),
        (["logs", "x", "--lines", "-2"], "--lines: is '-2', but must be a whole number"),
        (["clean", "--older-than", "-1"], "--older-than: is '-1', but must be a finite number"),
        (["clean", "--older-than", "nan"], "--older-than: is 'nan', but must be a finite"),
        (["clean", "--older-than", "inf"], "--older-than: is 'inf', but must be a finite"),
        (["clean", "--older-than", "week"], "--older-than: is 'week', but must be a finite"),
    ],
    ids=["status", "case", "max", "half", "lines", "age", "nan", "inf", "word"],
)
def test_values_that_make_no_sense_are_told_with_their_rule(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    with pytest.raises(SystemExit):
        main(["local", *arguments])
    assert words in capsys.readouterr().err


def test_nothing_is_shown_if_nothing_is_asked_for(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("logs", root, "first", "--lines", "0") == 0
    assert capsys.readouterr().out == ""
    assert run("list", root, "--max", "0") == 0
    assert capsys.readouterr().out.startswith("no jobs")
