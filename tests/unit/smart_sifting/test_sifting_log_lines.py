from __future__ import annotations

import logging
import re
import subprocess
import sys
from typing import Any

import pytest
import torch

from smart_sifting import Loss, SiftingDataloader
from tests.conformance.loader_suite import make_config

LOGGER_NAME = "smart_sifting.dataloader.sift_dataloader"
NUMBER = r"([0-9.e+\-]+)"
# The metric definitions of the published notebooks.
LINES = {
    "num_samples_batch:count": r"num_orig_samples_seen: ([0-9.]+)",
    "num_kept_batch:count": r"num_orig_samples_kept: ([0-9.]+)",
    "batch_size:count": r"Batch size for next sifted batch: ([0-9.]+)",
    "sifted_batch_creation:latency": rf"sifted_batch_creation_latency: {NUMBER}",
    "sifting_batch_transform:latency": rf"func:transform latency: {NUMBER}",
    "calc_rel_vals:latency": rf"func:calculate_relevance_values latency: {NUMBER}",
    "should_sift:latency": rf"func:should_sift latency: {NUMBER}",
    "sift:latency": rf"func:sift latency: {NUMBER}",
    "accumulate:latency": rf"func:accumulate latency: {NUMBER}",
    "orig_batch_transform:latency": rf"func:reverse_transform latency: {NUMBER}",
    "rel_vals:number": rf"relevance_values: \[{NUMBER}",
    "kept_rel_vals:number": rf"relevance_values_kept: \[{NUMBER}",
}
PER_SIFTED_BATCH = {
    "num_samples_batch:count",
    "num_kept_batch:count",
    "batch_size:count",
    "sifted_batch_creation:latency",
    "orig_batch_transform:latency",
}


class SampleLoss(Loss):
    def loss(self, model: Any, transformed_batch: Any, original_batch: Any = None) -> torch.Tensor:
        loss: torch.Tensor = original_batch["sample"] % 97 / 7
        return loss


def make_loader(**arguments: Any) -> SiftingDataloader:
    # Every sample is a number that no count, size or latency in the log can be.
    batches = [{"sample": part} for part in torch.arange(7654300, 7654380).split(8)]
    return SiftingDataloader(
        make_config(beta=1),
        batches,
        loss_impl=SampleLoss(),
        model=torch.nn.Identity(),
        seed=0,
        **arguments,
    )


def read_lines(caplog: pytest.LogCaptureFixture, **arguments: Any) -> tuple[Any, list[str]]:
    loader = make_loader(**arguments)
    with caplog.at_level(logging.INFO, LOGGER_NAME):
        list(loader)
    assert {record.levelno for record in caplog.records} == {logging.INFO}
    assert {record.name for record in caplog.records} == {LOGGER_NAME}
    return loader, [record.getMessage() for record in caplog.records]


def test_every_published_metric_is_read_from_our_lines(caplog: pytest.LogCaptureFixture) -> None:
    loader, lines = read_lines(caplog)
    counts = loader.statistics
    values = {}
    for metric, regex in LINES.items():
        matches = [re.search(regex, line) for line in lines]
        values[metric] = [float(match[1]) for match in matches if match]
        per_sifted = metric in PER_SIFTED_BATCH
        num_expected = counts.num_batches if per_sifted else counts.num_batches_loaded
        if metric == "accumulate:latency":  # pooled, and joined to a batch
            num_expected += counts.num_batches
        if metric == "kept_rel_vals:number":
            assert 0 < len(values[metric]) <= num_expected
        else:
            assert len(values[metric]) == num_expected, metric
    assert sum(values["num_samples_batch:count"]) == counts.samples_seen
    assert sum(values["num_kept_batch:count"]) == counts.samples_kept
    assert set(values["batch_size:count"]) == {8.0}
    assert values["rel_vals:number"][0] == pytest.approx(7654300 % 97 / 7, rel=1e-5)
    seconds = sum(values["calc_rel_vals:latency"])
    assert seconds == pytest.approx(counts.seconds["calculate_relevance_values"], rel=1e-4)


def test_no_line_holds_samples_by_default(caplog: pytest.LogCaptureFixture) -> None:
    _, lines = read_lines(caplog)
    assert not [line for line in lines if "76543" in line]


def test_log_batch_data_shows_the_kept_and_the_sifted_out_samples(
    caplog: pytest.LogCaptureFixture,
) -> None:
    _, lines = read_lines(caplog, log_batch_data=True)
    kept = "".join(line for line in lines if line.startswith("samples kept: "))
    dropped = "".join(line for line in lines if line.startswith("samples sifted out: "))
    for sample in range(7654300, 7654380):
        assert (str(sample) in kept) != (str(sample) in dropped)
    plain = torch.cat([batch["sample"] for batch in make_loader()]).tolist()
    assert all(str(sample) in kept for sample in plain)


def test_nothing_is_printed_without_a_logging_configuration() -> None:
    script = (
        "import torch\n"
        "from smart_sifting import SiftingDataloader\n"
        "class SampleLoss:\n"
        "    def loss(self, model, transformed_batch, original_batch=None):\n"
        "        return original_batch\n"
        "config = {'beta_value': 1, 'loss_history_length': 9,\n"
        "          'loss_based_sift_config': {'sift_config': {'sift_delay': 0}}}\n"
        "list(SiftingDataloader(config, torch.rand(64).split(8), loss_impl=SampleLoss(),\n"
        "                       model=torch.nn.Identity(), log_batch_data=True))\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_importing_the_package_loads_no_training_framework_and_no_aws_library() -> None:
    forbidden = ("lightning", "pytorch_lightning", "transformers", "boto3", "sagemaker")
    script = f"import smart_sifting, sys; print([m for m in {forbidden} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
