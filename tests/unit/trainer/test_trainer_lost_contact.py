from pathlib import Path

import pytest

from sagemaker_sift.trainer.lost_contact import (
    FIRST_WORD_S,
    is_lost_contact,
    wait_for_first_word,
)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("[gloo/transport/tcp/pair.cc:537] Read error"), True),
        (RuntimeError("NCCL error in: ProcessGroupNCCL.cpp"), True),
        (RuntimeError("shapes differ"), False),
        (ValueError("gloo"), False),
    ],
)
def test_an_error_of_the_connection_is_told_from_others(error: Exception, expected: bool) -> None:
    assert is_lost_contact(error) == expected


def test_the_process_that_failed_first_is_waited_for_and_not_for_ever(tmp_path: Path) -> None:
    failure = tmp_path / "failure"
    now_s = 0.0

    def clock() -> float:
        return now_s

    def sleep(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds

    wait_for_first_word(failure, clock=clock, sleep=sleep)
    assert FIRST_WORD_S <= now_s < FIRST_WORD_S + 0.2
    failure.write_text("why")
    before_s = now_s
    wait_for_first_word(failure, clock=clock, sleep=sleep)
    assert now_s == before_s
