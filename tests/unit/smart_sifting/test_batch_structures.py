from __future__ import annotations

import io
import logging.config
import math
import shelve
import sys
import types
from collections import Counter, OrderedDict, UserDict, UserList, defaultdict, deque
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from smart_sifting import UnsupportedDataFormatException
from smart_sifting._core.formats import BatchFormats
from smart_sifting._core.layouts import FormattedBatch, copy_containers
from smart_sifting._core.pool_state import from_plain, to_plain
from smart_sifting._core.tensor_rows import concatenate_along, select_along


class Pair(NamedTuple):
    image: Any
    label: Any


class Shared(MutableMapping[str, Any]):
    """A mapping whose copies share its items."""

    def __init__(self, items: Mapping[str, Any]) -> None:
        self._items = dict(items)

    def __getitem__(self, key: str) -> Any:
        return self._items[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._items[key] = value

    def __delitem__(self, key: str) -> None:
        del self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)


class Named(Shared):
    """One that cannot be made of its items alone."""

    def __init__(self, name: str, items: Mapping[str, Any]) -> None:
        super().__init__(items)
        self.name = name


class NamedAndCopied(Named):
    def __copy__(self) -> NamedAndCopied:
        return NamedAndCopied(self.name, self._items)


class Attributes(dict[str, Any]):
    """The well-known dict whose items are its attributes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.__dict__ = self


class Factory(UserDict[str, Any]):
    """A UserDict made otherwise than of its items, as transformers.BatchEncoding may be."""

    def __init__(self, name: str, data: dict[str, Any]) -> None:
        super().__init__(data)
        self.name = name


class Counted(dict[str, Any]):
    """A dict that has more items than it was made of."""

    def __init__(self, items: Mapping[str, Any]) -> None:
        super().__init__(items, count=len(items))


IDS = torch.tensor([10, 11, 12, 13])
PLAIN = {"ids": IDS, "double": IDS * 2}
MAPPINGS = [
    PLAIN,
    OrderedDict(PLAIN),
    defaultdict(list, PLAIN),
    Counter(PLAIN),
    UserDict(PLAIN),
    types.MappingProxyType(PLAIN),
    Shared(PLAIN),
    NamedAndCopied("name", PLAIN),
    Attributes(PLAIN),
    Factory("name", PLAIN),
]


def find(batch: Any, num_losses: int = 4) -> FormattedBatch:
    layout = BatchFormats().find_layout(batch, num_losses=num_losses, loader_batch_size=None)
    return FormattedBatch(batch, layout, num_losses)


@pytest.mark.parametrize("batch", MAPPINGS, ids=lambda batch: type(batch).__name__)
def test_a_mapping_of_any_type_is_taken_apart_and_joined_and_stays_as_it_was(batch: Any) -> None:
    parts = [find(batch).select([0, 2]), find(batch).select([1])]
    joined = parts[0].concatenate(parts[1:]).data
    for made, expected in ((parts[0].data, [10, 12]), (joined, [10, 12, 11])):
        assert type(made) is type(batch)
        assert list(made) == ["ids", "double"]
        assert made["ids"].tolist() == expected
        assert made["double"].tolist() == [2 * i for i in expected]
    assert batch["ids"] is IDS
    assert batch["double"] is PLAIN["double"]


def test_a_mapping_keeps_what_it_has_besides_its_items() -> None:
    assert find(defaultdict(list, PLAIN)).select([0]).data["new"] == []
    assert find(Factory("name", PLAIN)).select([0]).data.name == "name"
    assert find(NamedAndCopied("name", PLAIN)).select([0]).data.name == "name"
    assert find(Attributes(PLAIN)).select([0]).data.ids.tolist() == [10]


def test_a_mapping_that_cannot_be_made_or_copied_is_told_and_stays_as_it_was() -> None:
    batch = Named("name", PLAIN)
    with pytest.raises(UnsupportedDataFormatException, match=r"type .*Named.* `batch_transforms`"):
        find(batch).select([0])
    assert list(batch) == ["ids", "double"]
    assert batch["ids"] is IDS
    assert batch["double"] is PLAIN["double"]


@pytest.mark.parametrize("batch", MAPPINGS, ids=lambda batch: type(batch).__name__)
def test_a_copy_of_a_mapping_may_be_changed(batch: Any) -> None:
    nested = {"batch": batch}
    copied = copy_containers(nested)["batch"]
    assert type(copied) is type(batch)
    assert list(copied) == ["ids", "double"]
    assert copied["ids"] is IDS
    if isinstance(copied, MutableMapping):
        copied["ids"] = 0
        del copied["double"]
    assert list(batch) == ["ids", "double"]
    assert batch["ids"] is IDS


@pytest.mark.parametrize("kind", [list, UserList, deque])
def test_a_copy_of_a_sequence_may_be_changed(kind: Any) -> None:
    batch = (kind([IDS, kind(["a"])]), "text")
    copied = copy_containers(batch)
    assert type(copied) is tuple
    assert type(copied[0]) is type(copied[0][1]) is kind
    assert copied[0][0] is IDS
    copied[0].pop().append("b")
    copied[0][0] = 0
    assert len(batch[0]) == 2
    assert batch[0][0] is IDS
    assert list(batch[0][1]) == ["a"]


def test_a_copied_named_tuple_is_one_of_copies() -> None:
    batch = Pair([IDS], {"y": 1})
    copied = copy_containers(batch)
    assert type(copied) is Pair
    copied.label["y"] = 2
    assert batch.label == {"y": 1}
    assert copied.image[0] is IDS


def test_what_holds_no_container_or_cannot_be_copied_is_shared_by_a_copy() -> None:
    whole = [IDS, 3, None, "text", b"bytes", (IDS, "a"), {1, 2}, range(3), Named("name", PLAIN)]
    assert all(one is other for one, other in zip(copy_containers(whole), whole, strict=True))
    assert list(whole[-1].values()) == list(PLAIN.values())


def save_and_load(state: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    loaded: dict[str, Any] = torch.load(file, weights_only=True)
    return loaded


RESTORED = [
    PLAIN,
    OrderedDict(PLAIN),
    Counter(PLAIN),
    UserDict(PLAIN),
    Attributes(PLAIN),
    defaultdict(list, PLAIN),
]


@pytest.mark.parametrize("batch", RESTORED, ids=lambda batch: type(batch).__name__)
def test_a_state_is_read_as_weights_and_gives_mappings_of_the_same_type(batch: Any) -> None:
    restored = from_plain(save_and_load(to_plain(find(batch))))
    assert type(restored.data) is type(batch)
    assert list(restored.data) == ["ids", "double"]
    assert torch.equal(restored.data["ids"], IDS)
    newer = restored.concatenate([find(batch).select([2])]).data
    assert type(newer) is type(batch)
    assert newer["ids"].tolist() == [10, 11, 12, 13, 12]
    if isinstance(batch, defaultdict):
        assert newer["new"] == []


def test_a_state_keeps_the_types_of_nested_sequences_and_of_samples() -> None:
    samples = [Pair(UserDict(x=IDS + i), (i, [b"b", None, True, 2.5, 1j])) for i in range(4)]
    batch = find({"samples": samples, "pair": Pair(IDS, (IDS, IDS)), "size": torch.Size([1, 2])})
    restored = from_plain(save_and_load(to_plain(batch))).data
    assert type(restored["pair"]) is Pair
    assert type(restored["pair"].label) is tuple
    assert type(restored["size"]) is torch.Size
    for i, sample in enumerate(restored["samples"]):
        assert type(sample) is Pair
        assert type(sample.image) is UserDict
        assert torch.equal(sample.image["x"], IDS + i)
        assert sample.label == (i, [b"b", None, True, 2.5, 1j])


def test_a_state_keeps_numpy_samples() -> None:
    samples = [np.arange(6).reshape(2, 3)[:, ::-1], np.float32(1.5), np.int64(3), np.bool_(True)]
    restored = from_plain(save_and_load(to_plain(find({"x": IDS, "y": samples})))).data["y"]
    for one, other in zip(restored, samples, strict=True):
        assert type(one) is type(other)
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)
    names = [np.array(["a"]), np.str_("a"), np.array([None]), np.add]  # as they are
    kept = from_plain(to_plain(find({"x": IDS, "y": names}))).data["y"]
    assert [type(value) for value in kept] == [type(value) for value in names]


def test_mappings_of_other_types_are_dicts_after_a_state_unless_called_safe() -> None:
    state = to_plain(find(Shared(PLAIN)))
    restored = from_plain(save_and_load(state))
    assert type(restored.data) is dict
    newer = restored.concatenate([find(Shared(PLAIN))]).data
    assert type(newer) is Shared
    assert newer["ids"].tolist() == IDS.tolist() * 2
    with torch.serialization.safe_globals([Shared]):
        assert type(from_plain(save_and_load(state)).data) is Shared


def test_a_class_that_is_made_otherwise_comes_as_a_plain_container() -> None:
    class Local(dict[str, Any]):
        pass

    for batch in (Factory("name", PLAIN), Local(PLAIN)):
        restored = from_plain(save_and_load(to_plain(find(batch))))
        assert type(restored.data) is dict
        assert type(restored.concatenate([find(batch)]).data) is type(batch)


@pytest.mark.parametrize(
    "name",
    [
        f"{shelve.Shelf.__module__}:Shelf",
        f"{logging.config.__name__}:ConvertingDict",
        "os:_Environ",
        "os:system",
        "builtins:eval",
        "subprocess:Popen",
        "sys:modules",
        f"{__name__}:Named.__init__",
        f"{__name__}:IDS",
        f"{__name__}:Missing",
        "collections:",
        "",
        ":",
        "a.b:c",
    ],
)
def test_a_state_of_someone_else_makes_plain_containers_only(name: str) -> None:
    for value in ({"ids": IDS}, [IDS], (IDS, 1)):
        state = {"class": "", "values": value, "containers": [[[], name]]}
        assert type(from_plain(state)) is type(value)
    assert type(from_plain({"class": "", "values": IDS, "containers": [[[], name]]})) is type(IDS)


def test_a_state_imports_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    lazy = types.ModuleType("lazy_module")
    lazy.__getattr__ = asked.append  # type: ignore[method-assign, assignment]
    monkeypatch.setitem(sys.modules, "lazy_module", lazy)
    for name in ("lazy_module:Batch", "lazy_module.inner:Batch", "xml.dom.minidom:Batch"):
        state = {"class": "", "values": {"a": 1}, "containers": [[[], name]]}
        assert from_plain(state) == {"a": 1}
    assert asked == []
    assert "lazy_module.inner" not in sys.modules


def test_a_state_whose_items_do_not_fit_the_class_stays_plain() -> None:
    state = {"class": "", "values": (1,), "containers": [[[], f"{__name__}:Pair"]]}
    assert type(from_plain(state)) is tuple
    assert from_plain({"class": "", "values": {"a": 1}}) == {"a": 1}
    state = {"class": "", "values": {"a": 1}, "containers": [[[], f"{__name__}:Counted"]]}
    assert from_plain(state) == {"a": 1}


@pytest.mark.parametrize("shape", [(6, 3, 4, 5), (6, 2, 3, 4, 5)])
def test_images_whose_channels_are_last_in_memory_stay_so(shape: tuple[int, ...]) -> None:
    values = torch.arange(math.prod(shape)).reshape(shape)
    last = values.movedim(1, -1).contiguous().movedim(-1, 1)
    idx = torch.tensor([4, 0, 3])
    for given in (idx, idx.tolist()):
        taken = select_along(last, 0, given)
        assert torch.equal(taken, values[idx])
        assert taken.movedim(1, -1).is_contiguous()
        assert select_along(values, 0, given).is_contiguous()
    joined = concatenate_along([last[:2], select_along(last, 0, idx)], 0)
    assert joined.movedim(1, -1).is_contiguous()


def test_rows_of_other_strides_are_taken_as_they_are() -> None:
    values = torch.arange(48).reshape(4, 3, 2, 2)
    strided = values.expand(4, 3, 2, 2)[:, :, ::2]
    assert torch.equal(select_along(strided, 0, [3, 1]), strided[[3, 1]])
    columns = select_along(values.movedim(0, 1), 1, torch.tensor([2, 0]))
    assert torch.equal(columns, values.movedim(0, 1)[:, [2, 0]])


def test_samples_of_another_shape_are_told_and_others_errors_kept() -> None:
    with pytest.raises(UnsupportedDataFormatException, match=r"\(3,\)\] cannot be pooled"):
        concatenate_along([torch.ones(1, 2), torch.ones(4, 3)], 0)
    with pytest.raises(RuntimeError, match=r"device|meta"):
        concatenate_along([torch.ones(1, 2), torch.ones(1, 2, device="meta")], 0)
