"""Several real processes sift, each its own shard, and train one model."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import pytest

from tests.supports.rank_programs import BATCH_SIZE
from tests.supports.ranks import run_ranks

SCENARIOS: dict[str, dict[str, Any]] = {
    "plain": {},
    "unused parameters": {"find_unused_parameters": True},
    "one slow rank": {"slow_rank": 1},
    "one rank with fewer samples": {"num_samples": {"0": 34}, "num_epochs": 6},
    "one rank with a partial last batch": {"num_samples": {"1": 49}},
    "nearly all sifted out": {"config": {"beta": 30.0, "delay": 0}, "num_epochs": 14},
    "nothing sifted out": {"config": {"beta": 1e-9, "delay": 0}},
    "a delay in every epoch": {
        "config": {"delay": 4, "repeat": True},
        "num_samples": {"0": 34},
        "num_epochs": 4,
    },
    "a delay longer than training": {"config": {"delay": 1000}, "num_samples": {"0": 34}},
    "shared history": {"share_history": True},
    "a group without CPU backend": {"without_cpu_backend": True},
    "one rank without data": {"num_samples": {"0": 1}, "config": {"beta": 100.0, "delay": 0}},
}
SIZES = (2, 4)


@lru_cache
def run(size: int) -> list[dict[str, Any]]:
    ends = run_ranks("train_scenarios", size, SCENARIOS)
    for end in ends:
        assert end.code == 0, end.output
    return [end.result for end in ends]


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("size", SIZES)
class TestEveryScenario:
    def test_every_rank_yields_the_same_number_of_batches(self, size: int, scenario: str) -> None:
        results = [rank[scenario] for rank in run(size)]
        counts = [[len(batches) for batches in result["epochs"]] for result in results]
        assert len(counts) == size
        assert all(count == counts[0] for count in counts)
        assert (sum(counts[0]) > 0) == (scenario != "one rank without data")

    def test_every_sample_is_yielded_sifted_out_or_carried_over(
        self, size: int, scenario: str
    ) -> None:
        for rank, results in enumerate(run(size)):
            result = results[scenario]
            counts = result["statistics"]
            yielded = [i for epoch in result["epochs"] for batch in epoch for i in batch]
            shard = [1000 * rank + i for i in range(result["num_samples"])]
            if scenario != "a delay in every epoch":  # there, what was carried over comes later
                assert is_in_order(yielded, shard * len(result["epochs"]))
            assert all(yielded.count(i) <= len(result["epochs"]) for i in shard)
            assert set(yielded) <= set(shard)
            assert counts["samples_yielded"] == len(yielded)
            assert counts["samples_dropped_last"] == 0
            accounted = len(yielded) + counts["samples_sifted_out"] + result["num_waiting"]
            assert counts["samples_seen"] == accounted
            assert 0 <= result["num_waiting"] < 5 * BATCH_SIZE + BATCH_SIZE
            num_batches = len(result["epochs"]) * math.ceil(len(shard) / BATCH_SIZE)
            assert counts["num_batches_loaded"] + counts["batches_unread"] == num_batches

    def test_sifted_batches_are_full(self, size: int, scenario: str) -> None:
        config = {"delay": 3, "repeat": False} | SCENARIOS[scenario].get("config", {})
        for results in run(size):
            num_steps = 0
            for epoch in results[scenario]["epochs"]:
                num_steps = 0 if config["repeat"] else num_steps
                num_delayed = max(0, config["delay"] - num_steps)
                assert all(len(batch) == BATCH_SIZE for batch in epoch[num_delayed:])
                num_steps += len(epoch)

    def test_the_model_stays_one_model_and_moves(self, size: int, scenario: str) -> None:
        weights = [rank[scenario]["weights"] for rank in run(size)]
        assert all(weights[0] == pytest.approx(other, abs=1e-6) for other in weights)
        if scenario != "one rank without data":
            untrained = run(size)[0]["one rank without data"]["weights"]
            assert weights[0] != pytest.approx(untrained, abs=1e-3)


@pytest.mark.parametrize("size", SIZES)
def test_ranks_keep_different_samples_and_score_differently_often(size: int) -> None:
    results = [rank["one rank with fewer samples"] for rank in run(size)]
    assert len({result["statistics"]["samples_scored"] for result in results}) > 1
    kept = [{i % 1000 for batch in result["epochs"][1] for i in batch} for result in results]
    assert all(other != kept[0] for other in kept[1:])


@pytest.mark.parametrize("size", SIZES)
def test_equal_shards_are_read_to_the_end_but_for_what_chance_makes_uneven(size: int) -> None:
    for results in run(size):
        counts = results["nothing sifted out"]["statistics"]
        assert counts["batches_unread"] == 0
        assert counts["samples_yielded"] == 3 * 50 - 150 % BATCH_SIZE
        assert results["plain"]["statistics"]["batches_unread"] <= 3 * 13 * 0.1
    by_unread = [rank["one rank with fewer samples"]["statistics"] for rank in run(size)]
    assert by_unread[0]["batches_unread"] == 0
    assert max(counts["batches_unread"] for counts in by_unread) > 6


def test_a_slow_rank_changes_nothing_but_the_time() -> None:
    for results in run(2):
        assert results["one slow rank"]["epochs"] == results["plain"]["epochs"]
        assert results["one slow rank"]["weights"] == results["plain"]["weights"]


def test_a_group_without_cpu_backend_changes_nothing() -> None:
    for results in run(2):
        assert results["a group without CPU backend"]["epochs"] == results["plain"]["epochs"]


@pytest.mark.parametrize("size", SIZES)
def test_a_shared_history_holds_the_losses_of_all_ranks(size: int) -> None:
    for scenario, least_from_others in (("plain", 0), ("shared history", 8)):
        scored = [set(rank[scenario]["losses"]) for rank in run(size)]
        for rank, results in enumerate(run(size)):
            history = results[scenario]["history"]
            num_others = sum(loss not in scored[rank] for loss in history)
            assert len(history) == 40
            assert set(history) <= set().union(*scored)
            assert num_others >= least_from_others
            assert (num_others == 0) == (scenario == "plain")


def test_waiting_for_a_slow_rank_is_timed() -> None:
    fast, slow = (rank["one slow rank"]["statistics"]["seconds"] for rank in run(2))
    assert fast["agree"] > slow["agree"]
    assert slow["calculate_relevance_values"] > fast["calculate_relevance_values"]


def is_in_order(ids: list[int], all_ids: list[int]) -> bool:
    """Return whether ``ids`` is ``all_ids`` with some left out."""
    rest = iter(all_ids)
    return all(i in rest for i in ids)


@pytest.mark.parametrize(
    "options",
    [
        {"delay": 0, "repeat": False, "share_history": False},
        {"delay": 0, "repeat": False, "share_history": True},
        {"delay": 3, "repeat": True, "share_history": True},
        {"delay": 20, "repeat": False, "share_history": False},
    ],
    ids=["own history", "shared history", "repeated delay", "delay over two epochs"],
)
def test_resumed_at_any_batch_equals_uninterrupted_on_every_rank(options: Any) -> None:
    for end in run_ranks("resume_everywhere", 2, options):
        assert end.code == 0, end.output
        whole = end.result["whole"]
        assert len(whole) > 6
        assert len(end.result["rests"]) == len(whole) + 4
        for num_done, rest in zip(end.result["num_done"], end.result["rests"], strict=True):
            assert rest == whole[num_done:]


def test_a_killed_rank_ends_the_others_with_an_error() -> None:
    *others, killed = run_ranks("lose_a_rank", 4, {"signal": "SIGKILL", "timeout_s": 60})
    assert killed.code == -9
    for rank, end in enumerate(others):
        assert end.code == 1
        assert f"Rank {rank} of 4 asked the other ranks for batch" in end.output
        assert "one of them has ended" in end.output


def test_a_rank_that_hangs_ends_the_others_within_the_timeout() -> None:
    (other, hanging) = run_ranks(
        "lose_a_rank", 2, {"signal": "SIGSTOP", "timeout_s": 5}, never_ending=(1,)
    )
    assert hanging.code == -9
    assert other.code == 1
    assert "Rank 0 of 2 asked the other ranks for batch 4" in other.output
    assert "within the process group's timeout" in other.output


def test_ranks_that_go_different_ways_are_told_instead_of_hanging() -> None:
    for rank, end in enumerate(run_ranks("leave_early_on_one_rank", 2)):
        assert end.code == 0, end.output
        assert f"Rank {rank} of 2 has epoch={rank}, but over all ranks" in end.result
    for rank, end in enumerate(run_ranks("share_on_one_rank", 2)):
        assert end.code == 0, end.output
        assert f"Rank {rank} of 2 has share_history={1 - rank}, but" in end.result


@pytest.mark.parametrize("is_sharded", [False, True])
def test_data_that_is_not_sharded_is_warned_of_once(is_sharded: bool) -> None:
    first, second = run_ranks("train_on_shared_data", 2, {"is_sharded": is_sharded})
    assert first.code == second.code == 0
    assert len(first.result) == len(second.result) > 0
    assert first.result != second.result
    assert first.output.count("is not sharded") == (0 if is_sharded else 1)
    assert ("DistributedSampler" in first.output) == (not is_sharded)
    assert "is not sharded" not in second.output


@pytest.mark.parametrize("is_compiled", [False, True])
def test_scoring_calls_no_collective(is_compiled: bool) -> None:
    for end in run_ranks("profile_scoring", 2, {"is_compiled": is_compiled}):
        assert end.code == 0, end.output
        assert end.result["training"]
        assert end.result["scoring"] == []


def test_a_model_of_which_each_rank_holds_a_part_is_refused() -> None:
    for end in run_ranks("score_a_sharded_model", 2):
        assert end.code == 0, end.output
        assert "`model` is sharded over the ranks" in end.result


@pytest.mark.parametrize("place", ["in the model", "in the loss"])
def test_ddp_where_it_is_not_seen_broadcasts_nothing_while_scoring(place: str) -> None:
    ends = run_ranks("train_with_hidden_ddp", 2, {"place": place})
    for end in ends:
        assert end.code == 0, end.output
        assert end.result["synchronises"]
    one, two = (end.result for end in ends)
    assert one["num_steps"] == two["num_steps"] > 10
    assert one["num_passes"] != two["num_passes"]
    assert one["weights"] == pytest.approx(two["weights"], abs=1e-6)


def test_streams_of_different_length_are_warned_of() -> None:
    first, second = run_ranks("train_on_streams", 2, {"num_samples": [24, 400]})
    assert first.code == second.code == 0, second.output
    assert [len(epoch) for epoch in first.result] == [len(epoch) for epoch in second.result]
    assert "Rank 1 left batches of this epoch unread" in second.output
    assert "unread" not in first.output
    assert second.output.count("Shard the data evenly") == 1
    ids = [i - 1000 for epoch in second.result for batch in epoch for i in batch]
    assert is_in_order(ids, [*range(400)] * 2)


def test_an_epoch_in_which_a_rank_has_nothing_is_warned_of() -> None:
    first, second = run_ranks("train_on_streams", 2, {"num_samples": [0, 400]})
    assert first.result == second.result == [[], []]
    assert "Rank 0 had no batch to give in this epoch, so that no rank trained" in first.output
    assert "had no batch" not in second.output


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("beta", [1.0, 0.5], "beta_value=1, but over all ranks it goes from 0.5 to 1"),
        ("history", [32, 33], "loss_history_length=32, but over all ranks it goes from 32 to 33"),
    ],
)
def test_ranks_that_sift_differently_are_told(name: str, values: Any, message: str) -> None:
    first, second = run_ranks("sift_differently", 2, {"name": name, "values": values})
    assert first.code == second.code == 0, first.output
    assert message in first.result
    assert second.result


@lru_cache
def decide_together() -> list[dict[str, Any]]:
    ends = run_ranks("decide_together", 2)
    for end in ends:
        assert end.code == 0, end.output
    return [end.result | {"output": end.output} for end in ends]


def test_sifting_starts_on_all_ranks_at_the_step_at_which_the_last_may() -> None:
    results = [rank["one starts late"] for rank in decide_together()]
    first_scored = [bool_list(result["num_scored"]).index(True) for result in results]
    # Rank 1 sees two low looks of sixteen batches after its 48th; a batch that is ready passes.
    assert first_scored == [81] * 2
    assert [result["num_batches"] for result in results] == [results[0]["num_batches"]] * 2
    assert all(result["status"] == "on, scored by: plain" for result in results)
    for result in (rank["one never starts"] for rank in decide_together()):
        assert result["num_batches"] == 110
        assert not any(result["num_scored"])


def test_losses_of_visits_follow_samples_from_rank_to_rank() -> None:
    results = [rank["by visit"] for rank in decide_together()]
    counts = [[len(batches) for batches in result["epochs"]] for result in results]
    assert counts == [counts[0]] * 2
    for result in results:
        assert result["forwarded"][0] == result["scored"][0]
        for forwarded, scored in zip(result["forwarded"][1:], result["scored"][1:], strict=True):
            assert forwarded < 0.1 * scored


def test_a_run_by_visits_continues_on_every_rank() -> None:
    for result in (rank["by visit"] for rank in decide_together()):
        third, *later = result["epochs"][2:]
        assert result["rests"] == [third[2:], *later]
        assert result["forwarded_later"] == result["forwarded"]


def test_one_costly_rank_switches_all_off_at_one_step() -> None:
    results = [rank["one is costly"] for rank in decide_together()]
    off = ["switched off" in status for status in results[0]["statuses"]]
    assert not off[0]
    assert off[-1]
    for rank, result in enumerate(results):
        assert ["switched off" in status for status in result["statuses"]] == off
        counts = result["counts"]
        assert counts["samples_scored"] < 960
        assert counts["samples_dropped_last"] == 0
        accounted = result["num_yielded"] + counts["samples_sifted_out"] + result["num_waiting"]
        assert counts["samples_seen"] == accounted
        output = decide_together()[rank]["output"]
        assert output.count("Sifting is switched off: on another rank") == (rank == 0)


def test_ranks_that_go_different_ways_by_visits_are_told_instead_of_hanging() -> None:
    for rank, result in enumerate(decide_together()):
        scoring, epoch = result["different ways"]
        assert f"Rank {rank} of 2 has scoring={2 * rank}, but over all ranks" in scoring
        assert f"Rank {rank} of 2 has epoch={rank}, but over all ranks" in epoch


def bool_list(numbers: list[int]) -> list[bool]:
    return [number > 0 for number in numbers]
