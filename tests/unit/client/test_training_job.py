"""Waiting for a training job that runs elsewhere."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest

from sagemaker_sift import (
    AccessDeniedError,
    CredentialsError,
    JobFailedError,
    NotFoundError,
    ThrottledError,
    TrainingJob,
)
from sagemaker_sift.session import JobSession
from tests.supports.algorithms import build_session, error


class Script:
    """A job whose descriptions, and the log lines by then, come one after the other."""

    def __init__(self, root: Path, *steps: Any) -> None:
        self.steps = list(steps)
        self.read: list[Any] = []
        self.stopped = 0
        self.session = build_session(root)
        self.session.stops_on_interrupt = False
        self.session.sagemaker_client = self
        self.session.read_log = self.read_log  # type: ignore[method-assign]
        self.session.read_last_lines = functools.partial(  # type: ignore[method-assign]
            JobSession.read_last_lines, self.session
        )
        self.log: list[str] = []
        self.denied: AccessDeniedError | None = None
        self.job = TrainingJob("job", self.session)

    def describe_training_job(self, TrainingJobName: str) -> dict[str, Any]:
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        if isinstance(step, Exception):
            raise step
        status, *lines = step
        self.log += lines
        ended = status in {"Completed", "Failed", "Stopped"}
        return {
            "TrainingJobName": TrainingJobName,
            "TrainingJobStatus": status if ended else "InProgress",
            "SecondaryStatus": status,
            "FailureReason": "AlgorithmError: no images",
        }

    def stop_training_job(self, TrainingJobName: str) -> None:
        self.stopped += 1

    def read_log(self, job_name: str, position: Any = None) -> tuple[list[str], Any]:
        self.read.append(position)
        if self.denied is not None:
            raise self.denied
        return self.log[position or 0 :], len(self.log)


def test_all_log_lines_are_shown_once_and_in_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = Script(
        tmp_path, ["Starting"], ["Training", "a", "b"], ["Training", "c"], ["Completed"]
    )
    waits: list[float] = []
    script.job.wait("All", sleep=waits.append)
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["a", "b", "-- Training", "c", "-- Completed"]
    assert waits == [script.session.poll_s] * 2


def test_silence_asks_for_no_log(tmp_path: Path) -> None:
    script = Script(tmp_path, ["Training", "a"], ["Completed"])
    script.job.wait(False, sleep=lambda seconds: None)
    assert script.read == []


def test_a_job_is_waited_for_without_permission_to_read_its_log(tmp_path: Path) -> None:
    script = Script(tmp_path, ["Training"], ["Training"], ["Training"], ["Completed"])
    script.denied = AccessDeniedError("no logs:GetLogEvents", operation="GetLogEvents", code="A")
    with pytest.warns(UserWarning, match="The log of job is not shown: no logs:GetLogEvents"):
        description = script.job.wait(sleep=lambda seconds: None)
    assert description["TrainingJobStatus"] == "Completed"
    assert len(script.read) == 1


def test_a_failure_is_told_without_permission_to_read_the_log(tmp_path: Path) -> None:
    script = Script(tmp_path, ["Failed"])
    script.denied = AccessDeniedError("no logs", operation="GetLogEvents", code="A")
    with pytest.raises(JobFailedError) as caught:
        script.job.wait(False)
    assert caught.value.reason == "AlgorithmError: no images"
    assert caught.value.log_tail == ()


def test_a_failure_carries_the_end_of_the_log(tmp_path: Path) -> None:
    script = Script(tmp_path, ["Failed", *(f"line {n}" for n in range(40))])
    with pytest.raises(JobFailedError) as caught:
        script.job.wait(False)
    assert caught.value.log_tail == tuple(f"line {n}" for n in range(25, 40))


def test_an_interrupt_leaves_a_job_elsewhere_running(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = Script(tmp_path, ["Training"])

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        script.job.wait(sleep=interrupt)
    assert script.stopped == 0
    said = capsys.readouterr().err
    assert "AlgorithmEstimator.attach('job')" in said
    assert "TrainingJob('job', session).stop()" in said


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("ExpiredTokenException", CredentialsError),
        ("ThrottlingException", ThrottledError),
        ("ResourceNotFound", NotFoundError),
    ],
)
def test_what_goes_wrong_while_waiting_has_a_type(
    tmp_path: Path, code: str, kind: type[Exception]
) -> None:
    wrong = error("DescribeTrainingJob", code, "The service's own words.")
    script = Script(tmp_path, ["Training"], ["Training"], wrong)
    with pytest.raises(kind, match="The service's own words"):
        script.job.wait(sleep=lambda seconds: None)
