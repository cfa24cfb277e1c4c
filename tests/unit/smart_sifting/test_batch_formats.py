from __future__ import annotations

import types
from collections import OrderedDict, UserDict
from typing import Any, NamedTuple

import pytest
import torch

from smart_sifting import UnsupportedDataFormatException
from smart_sifting._core.formats import BatchFormats
from smart_sifting._core.layouts import FormattedBatch
from smart_sifting._core.pool_state import from_plain, to_plain


class Pair(NamedTuple):
    sample_id: torch.Tensor
    name: list[str]


class Opaque:
    pass


def find(
    batch: Any, num_losses: int, loader_batch_size: int | None = None, index: int | None = None
) -> FormattedBatch:
    layout = BatchFormats(index).find_layout(
        batch, num_losses=num_losses, loader_batch_size=loader_batch_size
    )
    return FormattedBatch(batch, layout, num_losses)


IDS = torch.tensor([10, 11, 12, 13])
NAMES = ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        ([IDS, NAMES], [IDS[[3, 1]], ["d", "b"]]),
        ((IDS, tuple(NAMES)), (IDS[[3, 1]], ("d", "b"))),
        (Pair(IDS, NAMES), Pair(IDS[[3, 1]], ["d", "b"])),
        ({"x": IDS, "y": NAMES}, {"x": IDS[[3, 1]], "y": ["d", "b"]}),
        (OrderedDict(x=IDS), OrderedDict(x=IDS[[3, 1]])),
        (UserDict(x=IDS), UserDict(x=IDS[[3, 1]])),
        (types.MappingProxyType({"x": IDS}), types.MappingProxyType({"x": IDS[[3, 1]]})),
        (IDS, IDS[[3, 1]]),
        (torch.arange(8).reshape(2, 4), torch.tensor([[3, 1], [7, 5]])),
        (torch.arange(16).reshape(4, 4), torch.arange(16).reshape(4, 4)[[3, 1]]),
        (NAMES, ["d", "b"]),
        ([Opaque, 1, None, "d"], ["d", 1]),
        (
            {"a": {"b": (IDS, [IDS * 2, None])}, "n": 3, "s": torch.tensor(2.0), "t": "text"},
            {
                "a": {"b": (IDS[[3, 1]], [IDS[[3, 1]] * 2, None])},
                "n": 3,
                "s": torch.tensor(2.0),
                "t": "text",
            },
        ),
    ],
    ids=str,
)
def test_every_default_format_gives_back_the_samples_in_its_own_types(
    batch: Any, expected: Any
) -> None:
    assert_same(find(batch, 4).select([3, 1]).data, expected)


def assert_same(actual: Any, expected: Any) -> None:
    assert type(actual) is type(expected)
    if isinstance(expected, torch.Tensor):
        assert torch.equal(actual, expected)
    elif isinstance(expected, list | tuple):
        assert len(actual) == len(expected)
        for one, other in zip(actual, expected, strict=True):
            assert_same(one, other)
    elif hasattr(expected, "items"):
        assert list(actual) == list(expected)
        for key in expected:
            assert_same(actual[key], expected[key])
    else:
        assert actual == expected


@pytest.mark.parametrize(
    "batch",
    [
        [IDS, NAMES],
        Pair(IDS, NAMES),
        {"x": IDS, "y": NAMES, "z": {"w": IDS.float()[:, None]}},
        UserDict(x=IDS),
        types.MappingProxyType({"x": IDS}),
        NAMES,
        IDS,
        torch.arange(8).reshape(2, 4),
    ],
    ids=str,
)
def test_parts_joined_again_equal_the_whole(batch: Any) -> None:
    whole = find(batch, 4)
    parts = [whole.select([0]), whole.select(range(1, 3)), whole.select([3])]
    joined = parts[0].concatenate(parts[1:])
    assert len(joined) == 4
    assert_same(joined.data, batch)


def test_the_batch_that_samples_are_taken_from_does_not_change() -> None:
    batch = UserDict(x=IDS)
    find(batch, 4).select([1])
    assert torch.equal(batch["x"], IDS)


@pytest.mark.parametrize("batch", [{1, 2}, "text", 3, None, Opaque(), (i for i in range(3))])
def test_an_unknown_type_is_not_supported_by_default(batch: Any) -> None:
    with pytest.raises(UnsupportedDataFormatException) as error:
        find(batch, 3)
    assert f"Batches of type {type(batch)} are not supported by default." in str(error.value)


def test_a_part_that_cannot_be_indexed_is_told() -> None:
    for batch in ([IDS, Opaque()], {"x": IDS, "y": Opaque()}, {"x": {"y": Opaque()}}):
        with pytest.raises(UnsupportedDataFormatException) as error:
            find(batch, 4)
        assert f"Unable to index the batch of type {Opaque}" in str(error.value)


def test_a_batch_that_fits_in_neither_dimension_is_told() -> None:
    message = r"Batch size 5 does not match dimension 0 or dimension 1 sizes \(2 and 4\)"
    with pytest.raises(UnsupportedDataFormatException, match=message):
        find([IDS, NAMES], 5)
    message = r"Batch size 4 does not match dimension 0 or dimension 1 sizes \(None and None\)"
    with pytest.raises(UnsupportedDataFormatException, match=message):
        find({"x": IDS, "y": IDS[:3]}, 4)


def test_a_batch_that_fits_in_both_dimensions_needs_the_index() -> None:
    batch = [torch.zeros(3), torch.ones(3), torch.tensor([5.0, 6.0, 7.0])]
    message = "Both dimension 0 and dimension 1 match batch size"
    with pytest.raises(UnsupportedDataFormatException, match=message):
        find(batch, 3, 3)
    assert_same(find(batch, 3, index=0).select([2]).data, [batch[2]])
    by_feature = find(batch, 3, index=1).select([2]).data
    assert_same(by_feature, [torch.tensor([0.0]), torch.tensor([1.0]), torch.tensor([7.0])])


def test_a_list_of_different_kinds_that_fits_in_both_dimensions_needs_the_index() -> None:
    batch = [torch.zeros(2), {"name": "a"}]
    with pytest.raises(UnsupportedDataFormatException, match="Both dimension 0 and dimension 1"):
        find(batch, 2, 2)
    assert_same(find(batch, 2, index=1).select([0]).data, [torch.zeros(1), {"name": "a"}])


def test_a_dict_whose_sequence_length_is_the_batch_size_is_not_ambiguous() -> None:
    tokens = torch.arange(16).reshape(4, 4)
    batch = find({"input_ids": tokens, "labels": IDS}, 4).select([2])
    assert_same(batch.data, {"input_ids": tokens[[2]], "labels": IDS[[2]]})


def test_a_partial_last_batch_is_read_as_the_full_ones_before_it() -> None:
    formats = BatchFormats()
    full = [torch.zeros(8), torch.zeros(8), torch.zeros(8)]
    assert formats.find_layout(full, num_losses=8, loader_batch_size=8).kind == "features"
    last = [torch.zeros(3), torch.zeros(3), torch.zeros(3)]
    assert formats.find_layout(last, num_losses=3, loader_batch_size=8).kind == "features"
    assert formats.count_samples(last, loader_batch_size=8) == 3


@pytest.mark.parametrize("is_by_sample", [True, False])
def test_a_nested_list_of_a_partial_last_batch_is_read_as_those_before_it(
    is_by_sample: bool,
) -> None:
    def make(num_samples: int) -> dict[str, Any]:
        shape = (num_samples, 3) if is_by_sample else (3, num_samples)
        return {"parts": list(torch.arange(num_samples * 3).reshape(shape))}

    formats = BatchFormats()
    formats.find_layout(make(8), num_losses=8, loader_batch_size=8)
    layout = formats.find_layout(make(3), num_losses=3, loader_batch_size=8)
    parts = FormattedBatch(make(3), layout, 3).select([2]).data["parts"]
    if is_by_sample:
        assert_same(parts, [torch.tensor([6, 7, 8])])
    else:
        assert_same(parts, [torch.tensor([2]), torch.tensor([5]), torch.tensor([8])])
    with pytest.raises(UnsupportedDataFormatException, match="Both dimension 0 and dimension 1"):
        find(make(3), 3)


def test_a_snapshot_of_pooled_samples_shares_no_memory() -> None:
    batch = find({"x": torch.tensor([1, 2]), "y": [torch.tensor(3), None]}, 2)
    state = to_plain(batch)
    batch.data["x"].zero_()
    batch.data["y"][0].zero_()
    restored = from_plain(state).select([0]).data
    assert_same(restored, {"x": torch.tensor([1]), "y": [torch.tensor(3)]})


def test_losses_and_loader_that_disagree_about_the_dimension_are_told() -> None:
    message = "Both dimension 0 and dimension 1 match batch size.*`batch_format_index=0`"
    with pytest.raises(UnsupportedDataFormatException, match=message):
        find([IDS, NAMES], 2, loader_batch_size=4)


@pytest.mark.parametrize(
    ("batch", "num_losses", "num_samples"),
    [({"x": IDS, "y": NAMES}, 1, 4), (Pair(IDS, NAMES), 7, 4), ([IDS, NAMES], 1, 4)],
    ids=str,
)
def test_a_reduced_loss_is_told_with_the_remedy(
    batch: Any, num_losses: int, num_samples: int
) -> None:
    message = rf"gave {num_losses} loss\(es\) for a batch of {num_samples} .*reduction='none'"
    with pytest.raises(ValueError, match=message):
        find(batch, num_losses, loader_batch_size=4)


@pytest.mark.parametrize("index", [2, -1, "sample", 0.5])
def test_an_unknown_format_index_is_told(index: Any) -> None:
    with pytest.raises(ValueError, match=r"`batch_format_index` is .*but must be 0"):
        BatchFormats(index)


def test_samples_of_different_shape_cannot_be_pooled() -> None:
    short, long = find(torch.zeros(4, 7), 4), find(torch.zeros(4, 9), 4)
    message = r"Samples of shapes \[\(7,\), \(9,\)\] cannot be pooled.*Pad them"
    with pytest.raises(UnsupportedDataFormatException, match=message):
        short.concatenate([long])


@pytest.mark.parametrize(
    ("one", "other", "told"),
    [
        ({"x": IDS}, {"x": IDS, "y": IDS}, r"`batch\['y'\]` is missing .* dimension 0 in another"),
        ({"x": IDS, "y": IDS}, {"x": IDS, "z": IDS}, r"`batch\['y'\]` is a tensor .* and missing"),
        ({"x": IDS, "w": None}, {"x": IDS, "w": IDS}, r"`batch\['w'\]` is one value .* a tensor"),
        ({"x": IDS, "w": IDS}, {"x": IDS, "w": 1}, r"`batch\['w'\]` is a tensor .* one value"),
        ({"x": IDS, "w": IDS}, {"x": IDS, "w": NAMES}, r"a tensor .* a sequence of samples"),
        ([IDS, (IDS, None)], [IDS, (IDS, IDS)], r"`batch\[1\]\[1\]` is one value"),
        ({"x": IDS, "m": {"w": 1}}, {"x": IDS, "m": {"w": IDS}}, r"`batch\['m'\]` is one value"),
        (IDS, NAMES, r"`batch` is a tensor .* and a sequence of samples"),
    ],
    ids=str,
)
def test_batches_with_different_features_cannot_be_pooled(one: Any, other: Any, told: str) -> None:
    message = told + r".*cannot be pooled\. Give every batch the same features, or .*transforms`"
    with pytest.raises(UnsupportedDataFormatException, match=message):
        find(one, 4).concatenate([find(one, 4), find(other, 4)])


def test_the_order_of_the_features_and_shared_values_may_differ() -> None:
    one, other = (
        find({"x": IDS, "y": NAMES, "n": 1}, 4),
        find({"n": None, "y": NAMES, "x": IDS}, 4),
    )
    joined = one.concatenate([other.select([0])]).data
    assert joined["x"].tolist() == [*IDS.tolist(), 10]
    assert joined["y"] == [*NAMES, "a"]
    assert joined["n"] is None


@pytest.mark.parametrize(
    "shared",
    [{"name": "a"}, {"name": "a", "deep": [{}, (1, 2)]}, [], (), {}, ["cat", "dog"], Pair(1, "b")],
    ids=str,
)
def test_containers_of_shared_values_and_empty_ones_are_shared(shared: Any) -> None:
    for batch in ({"x": IDS, "extra": shared}, [IDS, IDS, shared]):
        formats = BatchFormats()
        layout = formats.find_layout(batch, num_losses=4, loader_batch_size=None)
        selected = FormattedBatch(batch, layout, 4).select([3])
        joined = selected.concatenate([selected]).data
        assert joined["extra" if isinstance(joined, dict) else 2] is shared
        assert BatchFormats().count_samples(batch, loader_batch_size=None) in (3, 4)
        last = (
            {"x": IDS[:2], "extra": shared}
            if isinstance(batch, dict)
            else [*[IDS[:2]] * 2, shared]
        )
        last_layout = formats.find_layout(last, num_losses=2, loader_batch_size=None)
        assert last_layout == layout


@pytest.mark.parametrize("batch", [{"m": {"name": "a"}}, {"m": []}, [[], {}], {}, []], ids=str)
def test_a_batch_of_shared_values_alone_is_not_supported(batch: Any) -> None:
    with pytest.raises(UnsupportedDataFormatException, match="Batch size 4 does not match"):
        find(batch, 4)


def test_a_list_that_held_one_entry_per_sample_must_go_on_to() -> None:
    formats = BatchFormats()
    formats.find_layout({"x": IDS, "y": NAMES}, num_losses=4, loader_batch_size=4)
    for names in (NAMES[:3], []):
        assert formats.count_samples({"x": IDS, "y": names}, loader_batch_size=None) == 4
    with pytest.raises(UnsupportedDataFormatException, match=r"`batch\['y'\]` does not hold one"):
        formats.find_layout({"x": IDS, "y": NAMES[:3]}, num_losses=4, loader_batch_size=4)


@pytest.mark.parametrize(
    "batch",
    [
        [[1, 2], [1, 2, 3, 4], [], [5]],
        [{"tokens": [1, 2]}, {"tokens": [1, 2, 3, 4]}, {"tokens": []}, {"tokens": [1]}],
        {"tokens": [[1, 2], [1, 2, 3, 4], [], [5]]},
    ],
    ids=str,
)
def test_samples_that_are_lists_one_as_long_as_the_batch_are_no_features(batch: Any) -> None:
    selected = find(batch, 4).select([3, 1]).data
    if isinstance(batch, dict):
        batch, selected = batch["tokens"], selected["tokens"]
    assert selected == [batch[3], batch[1]]


def test_a_stated_index_is_not_asked_for_again() -> None:
    batch = [[torch.full((4,), 1.0 * i)] * 4 for i in range(4)]
    assert find(batch, 4, index=0).select([2]).data == [batch[2]]


def test_a_batch_that_failed_decides_nothing() -> None:
    formats = BatchFormats()
    with pytest.raises(UnsupportedDataFormatException):
        formats.find_layout({"y": NAMES, "x": Opaque()}, num_losses=4, loader_batch_size=None)
    assert formats.decided == {}


def test_columns_come_contiguous() -> None:
    whole = find(torch.arange(24).reshape(2, 4, 3), 4)
    for batch in (whole.select(range(1, 3)), whole.select([2, 0]), whole.concatenate([whole])):
        assert batch.data.is_contiguous()
        batch.data.view(-1)


@pytest.mark.parametrize(
    "batch",
    [{"ids": torch.ones(4, 5)}, [torch.ones(4, 5), IDS], torch.ones(4, 5)],
    ids=["dict", "list", "tensor"],
)
def test_losses_of_tokens_are_told_to_be_shaped_by_sample(batch: Any) -> None:
    with pytest.raises((ValueError, UnsupportedDataFormatException)) as error:
        find(batch, 20)
    assert "(B, -1), for example by `.view(len(labels), -1)`" in str(error.value)
    assert "reduction=" not in str(error.value)


@pytest.mark.parametrize("loader_batch_size", [None, 4])
@pytest.mark.parametrize(
    "batch",
    [{"x": IDS}, [IDS, NAMES], [IDS], IDS, IDS[:, None], IDS[:, None].expand(4, 3)],
    ids=["dict", "list", "list of one", "vector", "column", "matrix"],
)
def test_one_loss_is_told_to_be_reduced(batch: Any, loader_batch_size: int | None) -> None:
    with pytest.raises((ValueError, UnsupportedDataFormatException), match="reduction='none'"):
        find(batch, 1, loader_batch_size=loader_batch_size)


@pytest.mark.parametrize("loader_batch_size", [None, 1])
def test_one_loss_of_one_sample_is_right(loader_batch_size: int | None) -> None:
    for batch in ([IDS[:1], IDS[:1]], {"x": IDS[:1]}, IDS[:1], IDS[None]):
        assert len(find(batch, 1, loader_batch_size).select([0])) == 1
    assert find([IDS], 1, 1).layout.kind == "samples"
    assert find([IDS], 1, index=0).layout.kind == "samples"


MAKE_TENSOR = {
    "sparse_coo": lambda: torch.eye(4).to_sparse(),
    "sparse_csr": lambda: torch.eye(4).to_sparse_csr(),
    "nested": lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)] * 2),
}


@pytest.mark.parametrize("name", MAKE_TENSOR)
@pytest.mark.filterwarnings("ignore:.*(Sparse|nested)")  # torch says that these are prototypes
def test_sparse_and_nested_tensors_are_told_with_the_remedy(name: str) -> None:
    tensor = MAKE_TENSOR[name]()
    for batch in (tensor, [tensor, IDS], {"x": tensor, "y": IDS}):
        BatchFormats().count_samples(batch, loader_batch_size=4)
        with pytest.raises(UnsupportedDataFormatException) as error:
            find(batch, 4)
        assert name in str(error.value)
        assert "`.to_dense()`" in str(error.value)
        assert "`batch_transforms`" in str(error.value)
    assert find([tensor] * 4, 4).select([0]).data[0] is tensor


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        ([IDS, IDS, IDS], 4),
        ({"x": IDS}, 4),
        (IDS, 4),
        (Pair(IDS, NAMES), 4),
        ([{"x": 1}] * 8, 8),
        (["a", "b", "c"], 3),
        ([torch.zeros(8, 2), torch.zeros(8)], 8),
        (Opaque(), 8),
    ],
)
def test_samples_of_an_unscored_batch_are_counted(batch: Any, expected: int) -> None:
    assert BatchFormats().count_samples(batch, loader_batch_size=8) == expected
