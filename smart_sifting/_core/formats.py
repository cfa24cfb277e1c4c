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

from smart_sifting._core.layouts import Layout, is_named_tuple
from smart_sifting.exceptions import UnsupportedDataFormatException

BY_SAMPLE = 0
BY_FEATURE = 1


class BatchFormats:
    """How the batches of one loader are indexed, remembered from batch to batch.

    What a full batch settled holds for a partial last one, where the sizes alone may not tell.

    Args:
        batch_format_index: 0 if batches are indexed by sample, 1 if by feature, None to find out.

    Raises:
        ValueError: If ``batch_format_index`` is something else.

    Example:
        >>> images, labels = torch.zeros(8, 3), torch.zeros(8)
        >>> BatchFormats().find_layout([images, labels], num_losses=8, loader_batch_size=8).kind
        'features'
    """

    def __init__(self, batch_format_index: int | None = None) -> None:
        if batch_format_index not in (None, BY_SAMPLE, BY_FEATURE):
            raise ValueError(
                f"`batch_format_index` is {batch_format_index!r}, but must be 0 (batches are "
                "indexed by sample), 1 (by feature) or None (found out from the sizes)."
            )
        self.decided: dict[str, int] = {}
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
        candidates = self._candidates(batch, num_losses)
        decided = self.decided.get("")
        if decided is not None:
            candidates = {k: v for k, v in candidates.items() if k == decided}
        if not candidates:
            self._raise_mismatch(batch, num_losses, loader_batch_size)
        if len(candidates) == 2 and not isinstance(batch, torch.Tensor):
            _raise_ambiguous(batch, num_losses)
        format_index, layout = next(iter(candidates.items()))
        if decided is None and loader_batch_size not in (None, num_losses):
            _check_agreement(batch, num_losses, loader_batch_size, format_index)
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
            if batch.dim() >= 1 and batch.shape[0] == size:
                candidates[BY_SAMPLE] = Layout("rows")
            if batch.dim() >= 2 and batch.shape[1] == size:
                candidates[BY_FEATURE] = Layout("columns")
            return candidates
        if isinstance(batch, list | tuple) and not is_named_tuple(batch) and len(batch) == size:
            candidates[BY_SAMPLE] = Layout("samples")
        by_feature = self._features(batch, size, "")
        if by_feature is not None:
            candidates[BY_FEATURE] = by_feature
        return candidates

    def _features(self, value: Any, size: int, path: str) -> Layout | None:
        """Return the layout of a container of features, or None if the sizes do not fit."""
        children: dict[Any, Layout] = {}
        for key, child in _items(value):
            layout = self._feature(child, size, f"{path}/{key}")
            if layout is None:
                return None
            children[key] = layout
        if all(layout.kind == "shared" for layout in children.values()):
            return None
        return Layout("features", children)

    def _feature(self, value: Any, size: int, path: str) -> Layout | None:
        if isinstance(value, torch.Tensor) and value.dim() >= 1:
            return Layout("rows") if value.shape[0] == size else None
        if _is_shared(value):
            return Layout("shared")
        if not isinstance(value, list | tuple | Mapping):
            return None
        by_feature = self._features(value, size, path)
        is_by_sample = (
            isinstance(value, list | tuple) and not is_named_tuple(value) and len(value) == size
        )
        if not is_by_sample:
            if by_feature is not None:
                self.decided.setdefault(path, BY_FEATURE)
            return by_feature
        if by_feature is None:
            self.decided.setdefault(path, BY_SAMPLE)
            return Layout("samples")
        if path not in self.decided:
            _raise_ambiguous(value, size)
        return Layout("samples") if self.decided[path] == BY_SAMPLE else by_feature

    def _raise_mismatch(
        self, batch: Any, num_losses: int, loader_batch_size: int | None
    ) -> NoReturn:
        culprit = _find_unindexable(batch)
        if culprit is not None:
            raise UnsupportedDataFormatException(
                f"Unable to index the batch of type {type(culprit)}, so no samples can be taken "
                "from it. Pass `batch_transforms`, which turns batches into a SiftingBatch."
            )
        by_sample, by_feature = _sizes(batch)
        known = {BY_SAMPLE: by_sample, BY_FEATURE: by_feature}.get(self.decided.get("", -1))
        if known is None and (isinstance(batch, Mapping) or is_named_tuple(batch)):
            known = by_feature
        if known is None and loader_batch_size in (by_sample, by_feature):
            known = loader_batch_size
        if known is not None:
            raise_wrong_number(num_losses, known)
        raise UnsupportedDataFormatException(
            f"Batch size {num_losses} does not match dimension 0 or dimension 1 sizes "
            f"({by_sample} and {by_feature}). If `loss_impl.loss` does give one loss per sample "
            "(reduction='none'), pass `batch_transforms`, which turns batches into a SiftingBatch."
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
        "must give one per sample: create the loss function with reduction='none'."
    )


def _check_type(batch: Any) -> None:
    if not isinstance(batch, torch.Tensor | list | tuple | Mapping):
        raise UnsupportedDataFormatException(
            f"Batches of type {type(batch)} are not supported by default. Only lists, tuples, "
            "dictionaries and tensors are: pass `batch_transforms` for others."
        )


def _check_agreement(
    batch: Any, num_losses: int, loader_batch_size: int | None, format_index: int
) -> None:
    sizes = _sizes(batch)
    if sizes[1 - format_index] == loader_batch_size and not isinstance(batch, torch.Tensor):
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


def _items(value: Any) -> list[tuple[Any, Any]]:
    return list(value.items() if isinstance(value, Mapping) else enumerate(value))


def _find_unindexable(value: Any) -> Any:
    """Return the first part that cannot be indexed by sample or by feature, or None."""
    if isinstance(value, torch.Tensor) or _is_shared(value):
        return None
    if not isinstance(value, list | tuple | Mapping):
        return value
    for _, child in _items(value):
        culprit = _find_unindexable(child)
        if culprit is not None:
            return culprit
    return None


def _sizes(batch: Any) -> tuple[int | None, int | None]:
    """Return the sizes of dimension 0 and dimension 1, None where there is no common one."""
    if isinstance(batch, torch.Tensor):
        shape = [*batch.shape, None, None]
        return shape[0], shape[1]
    if not isinstance(batch, list | tuple | Mapping):
        return None, None
    is_by_feature = isinstance(batch, Mapping) or is_named_tuple(batch)
    return (None if is_by_feature else len(batch)), _common_size(batch)


def _common_size(value: Any) -> int | None:
    sizes: set[int | None] = set()
    for _, child in _items(value):
        if isinstance(child, torch.Tensor) and child.dim() >= 1:
            sizes.add(child.shape[0])
        elif isinstance(child, Mapping):
            sizes.add(_common_size(child))
        elif isinstance(child, list | tuple):
            sizes.add(len(child))
    return sizes.pop() if len(sizes) == 1 else None
