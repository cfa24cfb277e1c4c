"""Hugging Face's BatchEncoding passes sifting and its states by default."""

from __future__ import annotations

import copy
import io
from typing import Any

import torch
from transformers import BatchEncoding

from smart_sifting import SiftingDataloader
from tests.conformance.loader_suite import LossOfIds, make_config
from tests.supports.sifting_loader import make_loader


def read_ids(batch: Any) -> list[int]:
    ids: list[int] = batch["labels"].tolist()
    return ids


def make_encodings() -> list[BatchEncoding]:
    ids = torch.arange(50)
    return [
        BatchEncoding({"input_ids": part[:, None].expand(-1, 5), "labels": part}, n_sequences=1)
        for part in ids.split(8)
    ]


def make_encoding_loader() -> SiftingDataloader:
    return make_loader(make_encodings(), LossOfIds(read_ids), config=make_config(beta=1.0))


def check(batch: Any) -> list[int]:
    assert type(batch) is BatchEncoding
    assert list(batch) == ["input_ids", "labels"]
    assert batch.encodings is None
    assert not batch.is_fast
    assert torch.equal(batch.input_ids, batch.labels[:, None].expand(-1, 5))
    assert type(batch.to("cpu")) is BatchEncoding
    return read_ids(batch)


def test_encodings_pass_sifting_and_stay_as_they_were() -> None:
    encodings = make_encodings()
    loader = make_loader(encodings, LossOfIds(read_ids))
    yielded = [check(batch) for batch in loader]
    assert [len(ids) for ids in yielded[:-1]] == [8] * (len(yielded) - 1)
    assert 0 < loader.statistics.samples_sifted_out == 50 - sum(map(len, yielded))
    assert [read_ids(batch) for batch in encodings] == [read_ids(b) for b in make_encodings()]


def test_a_copy_of_an_encoding_is_its_own() -> None:
    encoding = make_encodings()[0]
    copied = copy.copy(encoding)
    copied["labels"] = 0
    copied.pop("input_ids")
    assert check(encoding) == list(range(8))


def test_a_state_at_every_batch_is_read_as_weights_and_continues_with_encodings() -> None:
    reference = [check(batch) for batch in make_encoding_loader()]
    num_pooled = 0
    for num_done in range(1, len(reference) + 1):
        loader = make_encoding_loader()
        for _, _ in zip(range(num_done), loader, strict=False):
            state = loader.state_dict()
        num_pooled += len(state["pipeline"]["pool"])
        file = io.BytesIO()
        torch.save(state, file)
        file.seek(0)
        resumed = make_encoding_loader()
        resumed.load_state_dict(torch.load(file, weights_only=True))
        assert [check(batch) for batch in resumed] == reference[num_done:]
    assert num_pooled > 0
