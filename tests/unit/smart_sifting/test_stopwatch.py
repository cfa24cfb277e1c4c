from __future__ import annotations

import pytest
import torch

from smart_sifting._pilot.stopwatch import BatchTimes, Stopwatch


def test_a_gpu_is_waited_for_before_the_clock_is_read_and_again_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: told.append(str(device)))

    def clock() -> float:
        told.append("clock")
        return 0.0

    with Stopwatch(clock, torch.device("cuda", 1)).measure("score"):
        told.append("work")
    assert told == ["cuda:1", "clock", "work", "cuda:1", "clock"]


def test_a_stage_in_two_parts_is_added_up_and_the_next_batch_begins_at_zero() -> None:
    ticks = iter([0.0, 1.0, 10.0, 12.0, 20.0, 24.0])
    stopwatch = Stopwatch(lambda: next(ticks), torch.device("cpu"))
    for _ in range(2):
        with stopwatch.measure("step"):
            pass
    assert stopwatch.finish(num_samples=1) == BatchTimes(1, {"step": 3.0})
    with stopwatch.measure("load"):
        pass
    times = stopwatch.finish(num_samples=2, num_kept=1)
    assert times == BatchTimes(2, {"load": 4.0}, 1)
    assert times.per_sample(["load", "step"]) == 2.0
