"""Find out how a batch in a default format is indexed: by sample or by feature.

By sample: dimension 0 counts samples, ``batch[i]`` is sample ``i``. By feature: ``batch[k]`` holds
one feature of every sample, and dimension 1 counts samples. A mapping or named tuple is always by
feature; a tensor is by sample unless only its dimension 1 fits.

Source: "Support for default batch formats" and its error messages in
https://docs.aws.amazon.com/sagemaker/latest/dg/train-smart-sifting-apply-to-pytorch-script.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import torch

from smart_sifting._core.layouts import Layout, container_items, is_named_tuple
from smart_sifting.exceptions import UnsupportedDataFormatException

BY_SAMPLE = 0
BY_FEATURE = 1
_SHARED = 2


class BatchFormats:
    """How the batches of one loader are indexed, remembered from batch to batch.

    What a full batch settled holds for a partial last one, where the sizes alone may not tell.

    Numbers, strings and None, empty containers, and containers of nothing else are one value of
    the whole batch, unless they are a list or tuple with one entry per sample.

    Args:
        batch_format_index: 0 if batches are indexed by sample, 1 if by feature, None to find out.
        shares_sequences: Whether a filled list or tuple can be one value of the whole batch.

    Raises:
        ValueError: If ``batch_format_index`` is something else.

    Example:
        >>> images, labels = torch.zeros(8, 3), torch.zeros(8)
        >>> BatchFormats().find_layout([images, labels], num_losses=8, loader_batch_size=8).kind
        'features'
    """

    def __init__(
        self, batch_format_index: int | None = None, *, shares_sequences: bool = True
    ) -> None:
        if batch_format_index not in (None, BY_SAMPLE, BY_FEATURE):
            raise ValueError(
                f"`batch_format_index` is {batch_format_index!r}, but must be 0 (batches are "
                "indexed by sample), 1 (by feature) or None (found out from the sizes)."
            )
        self.decided: dict[str, int] = {}
        self._found: dict[str, int] = {}
        self._shares_sequences = shares_sequences
        if batch_format_index is not None:
            self.decided[""] = int(batch_format_index)

    def find_layout(self, batch: Any, *, num_losses: int, loader_batch_size: int | None) -> Layout:
        """Return where the samples of a scored batch are.

        Args:
            batch: A batch as loaded.
            num_losses: How many losses the loss implementation gave for it.
            loader_batch_size: The wrapped loader's batch size, if it has one.

        Returns:
            A layout for ``num_losses`` samples.

        Raises:
            UnsupportedDataFormatException: If the batch's type is unknown, or neither dimension,
                or both, fit ``num_losses``.
            ValueError: If the number of losses is not the number of samples.
        """
        _check_type(batch)
        decided = self.decided.get("")
        self._found = {}
        candidates = self._candidates(batch, num_losses)
        if decided is not None:
            candidates = {k: v for k, v in candidates.items() if k == decided}
        if not candidates:
            self._raise_mismatch(batch, num_losses, loader_batch_size)
        if len(candidates) == 2 and not isinstance(batch, torch.Tensor):
            _raise_ambiguous(batch, num_losses)
        format_index, layout = next(iter(candidates.items()))
        if decided is None and loader_batch_size != num_losses:
            _check_not_reduced(batch, num_losses, format_index)
            _check_agreement(batch, num_losses, loader_batch_size, format_index)
        if format_index == BY_FEATURE:
            self.decided = self._found | self.decided
        self.decided.setdefault("", format_index)
        return layout

    def count_samples(self, batch: Any, *, loader_batch_size: int | None) -> int:
        """Return how many samples a batch holds, as far as its sizes tell.

        Args:
            batch: A batch that was not scored, of any type.
            loader_batch_size: The wrapped loader's batch size, the fallback.

        Returns:
            The number of samples; of a batch of unknown type the loader's batch size, or 1.
        """
        by_sample, by_feature = _sizes(batch)
        decided = self.decided.get("")
        if decided is not None:
            size = by_sample if decided == BY_SAMPLE else by_feature
        elif by_feature == loader_batch_size or by_sample is None:
            size = by_feature
        elif by_sample == loader_batch_size or by_feature is None:
            size = by_sample
        else:
            has_tensors = all(isinstance(value, torch.Tensor | Mapping) for value in batch)
            size = by_feature if has_tensors else by_sample
        return size if size is not None else loader_batch_size or 1

    def _candidates(self, batch: Any, size: int) -> dict[int, Layout]:
        candidates = {}
        if isinstance(batch, torch.Tensor):
            if not _is_indexable(batch):
                return {}
            if batch.dim() >= 1 and batch.shape[0] == size:
                candidates[BY_SAMPLE] = Layout("rows")
            if batch.dim() >= 2 and batch.shape[1] == size:
                candidates[BY_FEATURE] = Layout("columns")
            return candidates
        if _may_be_samples(batch, size):
            candidates[BY_SAMPLE] = Layout("samples")
        if self.decided.get("") != BY_SAMPLE:
            by_feature = self._features(batch, size, "", is_strict=False)
            if by_feature is not None:
                candidates[BY_FEATURE] = by_feature
        return candidates

    def _features(self, value: Any, size: int, path: str, *, is_strict: bool) -> Layout | None:
        """Return the layout of a container of features, or None if the sizes do not fit.

        Args:
            value: The container.
            size: How many samples it should hold.
            path: Where it is in the batch.
            is_strict: Whether no container in it may be one value of the whole batch. So it is
                for what may as well be a list of samples, each of which is a container.
        """
        if self.decided.get(path) != BY_FEATURE:
            is_strict |= (
                _may_be_samples(value, size) and len({type(child) for child in value}) == 1
            )
        children: dict[Any, Layout] = {}
        for key, child in container_items(value):
            layout = self._feature(child, size, f"{path}/{key}", is_strict=is_strict)
            if layout is None:
                return None
            children[key] = layout
        if all(layout.kind == "shared" for layout in children.values()):
            return None
        return Layout("features", children)

    def _feature(self, value: Any, size: int, path: str, *, is_strict: bool) -> Layout | None:
        if isinstance(value, torch.Tensor) and not _is_indexable(value):
            return None
        if isinstance(value, torch.Tensor) and value.dim() >= 1:
            return Layout("rows") if value.shape[0] == size else None
        if _is_shared(value):
            return Layout("shared")
        if not isinstance(value, list | tuple | Mapping):
            return None
        by_feature = self._features(value, size, path, is_strict=is_strict)
        decided = self.decided.get(path)
        if by_feature is None and not is_strict and decided != BY_SAMPLE:
            is_free = not _may_be_samples(value, size) or decided == _SHARED
            if is_free and self._is_shared_container(value):
                self._found[path] = _SHARED
                return Layout("shared")
        if not _may_be_samples(value, size):
            if by_feature is not None:
                self._found[path] = BY_FEATURE
            return by_feature
        if by_feature is None:
            self._found[path] = BY_SAMPLE
            return Layout("samples")
        if decided is None:
            _raise_ambiguous(value, size)
        return Layout("samples") if decided == BY_SAMPLE else by_feature

    def _is_shared_container(self, value: Any) -> bool:
        if not value:
            return True
        is_sequence = not isinstance(value, Mapping) and not is_named_tuple(value)
        if is_sequence and not self._shares_sequences:
            return False
        return _holds_only_shared(value)

    def _raise_mismatch(
        self, batch: Any, num_losses: int, loader_batch_size: int | None
    ) -> NoReturn:
        _check_indexable(batch)
        by_sample, by_feature = _sizes(batch)
        known = {BY_SAMPLE: by_sample, BY_FEATURE: by_feature}.get(self.decided.get("", -1))
        if known is None and (isinstance(batch, Mapping) or is_named_tuple(batch)):
            known = by_feature
        if known is None and loader_batch_size in (by_sample, by_feature):
            known = loader_batch_size
        if known not in (None, num_losses):
            raise_wrong_number(num_losses, known)
        misfit = _find_misfit(batch, num_losses, "batch") if known == num_losses else None
        if misfit is not None:
            raise UnsupportedDataFormatException(
                f"`{misfit}` does not hold one entry for each of the {num_losses} samples. Give "
                "it one per sample in the wrapped loader's `collate_fn`, or pass "
                "`batch_transforms`."
            )
        raise UnsupportedDataFormatException(
            f"Batch size {num_losses} does not match dimension 0 or dimension 1 sizes "
            f"({by_sample} and {by_feature}). {_say_remedy(num_losses, by_sample, by_feature)} If "
            "it does give one loss per sample, pass `batch_transforms`, which turns batches into "
            "a SiftingBatch."
        )


def raise_wrong_number(num_losses: int, num_samples: int) -> NoReturn:
    """Raise because there is not one loss per sample.

    Args:
        num_losses: How many losses there are.
        num_samples: How many samples the batch holds.

    Raises:
        ValueError: Always.
    """
    raise ValueError(
        f"`loss_impl.loss` gave {num_losses} loss(es) for a batch of {num_samples} samples, but "
        f"must give one per sample. {_say_remedy(num_losses, num_samples)}"
    )


def _say_remedy(num_losses: int, *possible_sizes: int | None) -> str:
    """Say how a loss implementation comes to one loss per sample."""
    if any(size and num_losses > size and num_losses % size == 0 for size in possible_sizes):
        return (
            "Losses of the parts of a sample, such as its tokens, must be of shape (B, -1), for "
            "example by `.view(len(labels), -1)`: their mean is the sample's loss."
        )
    return "Create the loss function of `loss_impl.loss` with reduction='none'."


def _check_type(batch: Any) -> None:
    if not isinstance(batch, torch.Tensor | list | tuple | Mapping):
        raise UnsupportedDataFormatException(
            f"Batches of type {type(batch)} are not supported by default. Only lists, tuples, "
            "dictionaries and tensors are: pass `batch_transforms` for others."
        )


def _check_indexable(batch: Any) -> None:
    culprit = _find_unindexable(batch)
    if isinstance(culprit, torch.Tensor):
        kind = "a nested tensor" if culprit.is_nested else f"a tensor of layout {culprit.layout}"
        raise UnsupportedDataFormatException(
            f"Unable to index the batch: it holds {kind}, from which no samples can be taken. "
            "Make it dense in the wrapped loader's `collate_fn`, by `.to_dense()` or "
            "`torch.nested.to_padded_tensor`, or pass `batch_transforms`."
        )
    if culprit is not None:
        raise UnsupportedDataFormatException(
            f"Unable to index the batch of type {type(culprit)}, so no samples can be taken "
            "from it. Pass `batch_transforms`, which turns batches into a SiftingBatch."
        )


def _check_not_reduced(batch: Any, num_losses: int, format_index: int) -> None:
    """Raise if one loss fits a batch only in a way that hardly is meant."""
    sizes = _sizes(batch)
    if isinstance(batch, torch.Tensor):
        is_likely = format_index == BY_SAMPLE
    else:
        is_likely = format_index == BY_FEATURE
    other = sizes[1 - format_index]
    if num_losses == 1 and not is_likely and other is not None and other > 1:
        raise UnsupportedDataFormatException(
            f"`loss_impl.loss` gave 1 loss for a batch of sizes {sizes[0]} and {sizes[1]}. If it "
            f"holds {other} samples, create the loss function with reduction='none'; if it is one "
            f"sample, pass `batch_format_index={format_index}`."
        )


def _check_agreement(
    batch: Any, num_losses: int, loader_batch_size: int | None, format_index: int
) -> None:
    if loader_batch_size is None or isinstance(batch, torch.Tensor):
        return
    if _sizes(batch)[1 - format_index] == loader_batch_size:
        raise UnsupportedDataFormatException(
            f"Both dimension 0 and dimension 1 match batch size: dimension {format_index} the "
            f"{num_losses} losses, dimension {1 - format_index} the loader's {loader_batch_size}. "
            "If `loss_impl.loss` gives one loss per sample (reduction='none'), pass "
            f"`batch_format_index={format_index}`."
        )


def _raise_ambiguous(batch: Any, size: int) -> NoReturn:
    raise UnsupportedDataFormatException(
        f"Both dimension 0 and dimension 1 match batch size {size} in {type(batch)}. Pass "
        "`batch_format_index=0` if batches are indexed by sample, 1 if by feature; for a nested "
        "list, pass `batch_transforms`."
    )


def _is_shared(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return value.dim() == 0
    return value is None or isinstance(value, str | bytes | int | float | complex)


def _holds_only_shared(value: Any) -> bool:
    return all(
        _holds_only_shared(child)
        if isinstance(child, list | tuple | Mapping)
        else _is_shared(child)
        for _, child in container_items(value)
    )


def _is_indexable(tensor: torch.Tensor) -> bool:
    """Return whether a tensor is neither nested nor sparse."""
    return tensor.layout is torch.strided and not tensor.is_nested


def _may_be_samples(value: Any, size: int) -> bool:
    return isinstance(value, list | tuple) and not is_named_tuple(value) and len(value) == size


def _find_unindexable(value: Any) -> Any:
    """Return the first part that cannot be indexed by sample or by feature, or None."""
    if isinstance(value, torch.Tensor):
        return None if _is_indexable(value) else value
    if _is_shared(value):
        return None
    if not isinstance(value, list | tuple | Mapping):
        return value
    for _, child in container_items(value):
        culprit = _find_unindexable(child)
        if culprit is not None:
            return culprit
    return None


def _find_misfit(value: Any, size: int, path: str) -> str | None:
    """Return the path of the first part that does not hold one entry per sample, or None."""
    for key, child in container_items(value) if isinstance(value, list | tuple | Mapping) else []:
        child_path = f"{path}[{key!r}]"
        if isinstance(child, torch.Tensor):
            if child.dim() >= 1 and child.size(0) != size:
                return child_path
        elif isinstance(child, list | tuple | Mapping) and not _may_be_samples(child, size):
            found = _find_misfit(child, size, child_path)
            is_filled_sequence = child and not isinstance(child, Mapping)
            if found is None and is_filled_sequence and _holds_only_shared(child):
                found = child_path
            if found is not None:
                return found
    return None


def _sizes(batch: Any) -> tuple[int | None, int | None]:
    """Return the sizes of dimension 0 and dimension 1, None where there is no common one."""
    if isinstance(batch, torch.Tensor):
        if batch.is_nested:
            return batch.size(0), None
        shape = [*batch.shape, None, None]
        return shape[0], shape[1]
    if not isinstance(batch, list | tuple | Mapping):
        return None, None
    is_by_feature = isinstance(batch, Mapping) or is_named_tuple(batch)
    return (None if is_by_feature else len(batch)), _common_size(batch)


def _common_size(value: Any) -> int | None:
    """Return the size of what holds samples for certain; else of lists that may well do."""
    certain: set[int | None] = set()
    possible: set[int | None] = set()
    for _, child in container_items(value):
        if isinstance(child, torch.Tensor) and child.dim() >= 1:
            certain.add(child.size(0))
        elif isinstance(child, list | tuple | Mapping) and child:
            is_possible = _holds_only_shared(child)
            size = _common_size(child) if isinstance(child, Mapping) else len(child)
            if size is not None or not is_possible:
                (possible if is_possible else certain).add(size)
    sizes = certain or possible
    return sizes.pop() if len(sizes) == 1 else None
