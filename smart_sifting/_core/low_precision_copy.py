"""A copy of a model in half the bits, that follows the model while it is being trained."""

from __future__ import annotations

import copy
import platform
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils import _pytree

from smart_sifting._core.batch_norm_folding import BatchNormFolding, find_foldable

_SHARED_ATTRIBUTES = ("_trainer", "trainer", "_fabric")
"""What points from a model back to what trains it: not copied, or all of that would be."""

_AMPERE = 8


def find_fast_dtype(device: torch.device) -> torch.dtype | None:
    """Return the 16-bit dtype in which a device computes faster than in float32.

    Args:
        device: Any device.

    Returns:
        bfloat16 on processors with instructions for it (AVX512-BF16, AMX or Arm's BF16) and on
        GPUs of compute capability 8 and later; float16 on older GPUs; None elsewhere.
    """
    if device.type == "cuda":
        is_recent = torch.cuda.get_device_capability(device)[0] >= _AMPERE
        return torch.bfloat16 if is_recent else torch.float16
    if device.type != "cpu":
        return None
    if platform.machine() in ("arm64", "aarch64"):
        is_fast = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    else:  # there the same question is answered with yes by AVX512 alone, which emulates it
        names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        checks = [getattr(torch.cpu, name, None) for name in names]
        is_fast = any(check() for check in checks if check is not None)
    return torch.bfloat16 if is_fast else None


class LowPrecisionCopy(nn.Module):
    """Stands in for a model in scoring passes.

    It holds a deep copy in eval mode whose float32 tensors are rounded, those of BatchNorm
    excepted: BatchNorm reads 16-bit activations as fast with float32 statistics. It takes as much
    memory as half of the parameters, none of it the model's own, and needs no gradients. Tensors
    that it is called with are cast to its dtype, its outputs back to float32. Attributes of the
    model that are neither modules nor tensors nor callable, such as ``model.config``, can be read
    from it; a method of the model cannot be called, as it would compute with the model itself.

    Args:
        model: The model to copy; DDP and ``torch.compile`` taken off.
        dtype: Of the copy.
        is_folded: Whether BatchNorm is folded into the layer before it where that can be done.

    Attributes:
        num_calls: How often it was called.

    Raises:
        ValueError: If the copy is not made like the model, or if there is nothing to fold.

    Example:
        >>> model = nn.Linear(2, 1)
        >>> stand_in = LowPrecisionCopy(model, torch.bfloat16, is_folded=False)
        >>> stand_in(torch.ones(3, 2)).dtype, stand_in.in_features
        (torch.float32, 2)
    """

    @torch.no_grad()
    def __init__(self, model: nn.Module, dtype: torch.dtype, *, is_folded: bool) -> None:
        super().__init__()
        self.__dict__["_model"] = model  # not a child: its parameters are none of this module's
        copied = _copy_module(model, dtype)
        copies, originals = list(copied.modules()), list(model.modules())
        if [type(module) for module in copies] != [type(module) for module in originals]:
            raise ValueError("its copy consists of other modules")
        self._settings = [
            (vars(module), vars(original))
            for module, original in zip(copies, originals, strict=True)
        ]
        tensors = list(zip(_tensors(copied), _tensors(model), strict=True))
        copied = _without_compilation(copied)
        self._folding: BatchNormFolding | None = None
        if is_folded:
            pairs = find_foldable(copied)
            if not pairs:
                raise ValueError("it has no BatchNorm that could be folded")
            original_of = dict(zip(copies, originals, strict=True))
            self._folding = BatchNormFolding(copied, pairs, original_of)
        self._is_updated = [not self._is_left_out(original) for _, original in tensors]
        self._targets = [target for target, _ in tensors]
        self._signature = _describe(model)
        self._low_precision_copy = copied
        self._dtype = dtype
        self._device_type = self._targets[0].device.type
        self.training = False
        self.num_calls = 0
        self.refresh()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the copy returns, in float32."""
        self.num_calls += 1
        args, kwargs = _pytree.tree_map(self._to_low, (args, kwargs))
        with torch.autocast(self._device_type, enabled=False):
            output = self._low_precision_copy(*args, **kwargs)
        return _pytree.tree_map(self._to_float, output)

    def __getattr__(self, name: str) -> Any:
        for registry in ("_parameters", "_buffers", "_modules"):
            if name in self.__dict__.get(registry, {}):
                return self.__dict__[registry][name]
        model = self.__dict__.get("_model")
        value = getattr(model, name) if model is not None else None
        if model is None or callable(value) or isinstance(value, torch.Tensor):
            raise AttributeError(f"a copy of the model has no {name!r}")
        return value

    @property
    def is_outdated(self) -> bool:
        """Whether the model is made otherwise than when it was copied."""
        return _describe(self._model) != self._signature

    @torch.no_grad()
    def refresh(self) -> None:
        """Take over the values that the model has now; not if it :attr:`is_outdated`."""
        groups: dict[Any, tuple[list[torch.Tensor], list[torch.Tensor]]] = {}
        sources = _tensors(self._model)
        for target, source, is_updated in zip(
            self._targets, sources, self._is_updated, strict=True
        ):
            if is_updated:  # of one dtype and device a GPU copies all at once
                key = (target.dtype, source.dtype, target.device)
                targets_of_kind, sources_of_kind = groups.setdefault(key, ([], []))
                targets_of_kind.append(target)
                sources_of_kind.append(source)
        for targets_of_kind, sources_of_kind in groups.values():
            torch._foreach_copy_(targets_of_kind, sources_of_kind)
        if self._folding is not None:
            self._folding.refresh()
        for copied, original in self._settings:
            for name, value in original.items():
                if type(value) in (int, float, bool, str) and name != "training":
                    copied[name] = value

    def values(self) -> list[torch.Tensor]:
        """Return all tensors of the copy, themselves."""
        return list(_tensors(self._low_precision_copy))

    @torch.no_grad()
    def load_values(self, values: list[torch.Tensor]) -> bool:
        """Take over what :meth:`values` returned for a copy made alike.

        Args:
            values: Tensors on any device.

        Returns:
            Whether they fit; otherwise nothing has changed.
        """
        own = self.values()
        if [(v.shape, v.dtype) for v in own] != [(v.shape, v.dtype) for v in values]:
            return False
        for target, value in zip(own, values, strict=True):
            target.copy_(value)
        return True

    def _is_left_out(self, original: torch.Tensor) -> bool:
        folded = () if self._folding is None else self._folding.sources
        return any(original is tensor for tensor in folded)

    def _to_low(self, value: Any) -> Any:
        is_float = isinstance(value, torch.Tensor) and value.is_floating_point()
        return value.to(self._dtype) if is_float else value

    def _to_float(self, value: Any) -> Any:
        is_low = isinstance(value, torch.Tensor) and value.dtype == self._dtype
        return value.float() if is_low else value


def strip_compilation(model: nn.Module) -> nn.Module:
    """Return the model inside ``torch.compile``; else the model itself.

    Args:
        model: Any module.
    """
    inner = model._modules.get("_orig_mod")
    return model if inner is None else strip_compilation(inner)


def _copy_module(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Deep-copy a model whose tensors are made by us: rounded at once, nothing twice in memory."""
    memo: dict[int, Any] = {}
    for module in model.modules():
        is_kept = isinstance(module, _BatchNorm)
        attributes = vars(module)
        for name in _SHARED_ATTRIBUTES:
            value = attributes.get(name)
            if value is not None:
                memo[id(value)] = value
        registered = [*module._parameters.values(), *module._buffers.values()]
        for tensor in [*registered, *attributes.values()]:
            if not isinstance(tensor, torch.Tensor) or id(tensor) in memo:
                continue
            is_rounded = tensor.dtype == torch.float32 and not is_kept
            copied = tensor.detach().to(dtype if is_rounded else tensor.dtype, copy=True)
            if isinstance(tensor, nn.Parameter):
                copied = nn.Parameter(copied, requires_grad=False)
            memo[id(tensor)] = copied
    result = copy.deepcopy(model, memo)
    for module in result.modules():
        module.training = False
    return result


def _without_compilation(copied: nn.Module) -> nn.Module:
    for module in copied.modules():
        for name, child in module._modules.items():
            if child is not None and name != "_orig_mod":
                module._modules[name] = strip_compilation(child)
    return strip_compilation(copied)


def _tensors(model: nn.Module) -> Iterator[torch.Tensor]:
    yield from model.parameters()
    yield from model.buffers()


def _describe(model: nn.Module) -> tuple[list[Any], list[Any], list[Any]]:
    """Return what a copy depends on besides values: modules, tensors and switches."""
    modules = list(model.named_modules())
    tensors = [
        (name, tensor.shape, tensor.dtype, tensor.device)
        for named in (model.named_parameters(), model.named_buffers())
        for name, tensor in named
    ]
    switches = [
        (name, value)
        for _, module in modules
        for name, value in vars(module).items()
        if type(value) in (bool, str) and name != "training"
    ]
    return modules, tensors, switches
