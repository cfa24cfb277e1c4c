"""BatchNorm folded into the convolution before it, in a copy of a model.

In eval mode BatchNorm is a scale and a shift per channel, and a convolution whose weights are
scaled and whose bias is shifted gives the same output without another pass over the activations.

Shape suffixes in this file: C = channels of all folded pairs, one after the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from torch import fx, nn

_Layer = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear
_Norm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm
_NORMS_AFTER: dict[type[nn.Module], tuple[type[nn.Module], ...]] = {
    nn.Conv1d: (nn.BatchNorm1d, nn.SyncBatchNorm),
    nn.Conv2d: (nn.BatchNorm2d, nn.SyncBatchNorm),
    nn.Conv3d: (nn.BatchNorm3d, nn.SyncBatchNorm),
    nn.Linear: (nn.BatchNorm1d, nn.SyncBatchNorm),
}
"""By exact type: a subclass, a parametrised module for example, may compute something else."""


def find_foldable(model: nn.Module) -> list[tuple[nn.Module, nn.Module]]:
    """Return the pairs of a convolution, or linear layer, and the BatchNorm behind it.

    Both are called once, the layer's output goes nowhere else, nothing else uses their parameters,
    and the BatchNorm has running statistics. The model is run with symbols for tensors, with all
    traces that a forward pass leaves in it: give a copy, in eval mode.

    Args:
        model: A model, not in training mode.

    Returns:
        Pairs of the model's own modules; none if the model has forward hooks, which may look at
        what is between the two, or cannot be traced, because its path depends on the data.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.ReLU()).eval()
        >>> find_foldable(model)
        [(Linear(...), BatchNorm1d(...))]
    """
    if any(module._forward_hooks or module._forward_pre_hooks for module in model.modules()):
        return []
    try:
        graph = fx.Tracer().trace(model)
    except Exception:  # noqa: BLE001  # forward is the user's, and may do anything with a symbol
        return []
    modules = dict(model.named_modules())
    num_uses = Counter(node.target for node in graph.nodes if node.op == "call_module")
    is_read = {str(node.target) for node in graph.nodes if node.op == "get_attr"}
    num_owners = Counter(id(p) for m in modules.values() for p in m._parameters.values())
    pairs = []
    for node in graph.nodes:
        source = node.args[0] if node.op == "call_module" and node.args else None
        if not isinstance(source, fx.Node) or source.op != "call_module":
            continue
        names = (str(source.target), str(node.target))
        layer, norm = (modules[name] for name in names)
        if (
            _fit(layer, norm)
            and len(source.users) == 1
            and all(num_uses[name] == 1 for name in names)
            and not any(name.rpartition(".")[0] in names for name in is_read)
            and all(num_owners[id(p)] == 1 for p in [*layer.parameters(), *norm.parameters()])
        ):
            pairs.append((layer, norm))
    return pairs


class BatchNormFolding:
    """Folds BatchNorms of a model into the layers before them, in a copy, whenever it is asked.

    Weights and statistics are combined in float32, as ``torch.nn.utils.fusion`` does, and only
    then rounded to the copy's dtype: with ``k = gamma / sqrt(var + eps)``,
    ``weight' = k * weight`` and ``bias' = k * (bias - mean) + beta``.

    Args:
        copied: The copy. Its BatchNorms are replaced by the identity, its layers get a bias.
        pairs: Pairs of the copy, as :func:`find_foldable` gives them; at least one.
        originals: The model's own module for each of the copy's.

    Attributes:
        sources: Tensors of the model that :meth:`refresh` reads.
    """

    def __init__(
        self,
        copied: nn.Module,
        pairs: Sequence[tuple[nn.Module, nn.Module]],
        originals: Mapping[nn.Module, nn.Module],
    ) -> None:
        self._originals = [(originals[layer], originals[norm]) for layer, norm in pairs]
        self._weights: list[torch.Tensor] = []
        self._biases: list[torch.Tensor] = []
        for layer, norm in pairs:
            _replace(copied, norm, nn.Identity().eval())
            weight = layer.get_parameter("weight")
            if layer._parameters["bias"] is None:
                bias = weight.new_zeros(weight.shape[0])
                layer.register_parameter("bias", nn.Parameter(bias, requires_grad=False))
            self._weights.append(weight)
            self._biases.append(layer.get_parameter("bias"))
        self._sizes = [bias.numel() for bias in self._biases]
        self._device = self._biases[0].device
        self._eps: list[float] = []
        self._eps_C = torch.empty(0)
        self.sources = [
            tensor
            for pair in self._originals
            for module in pair
            for tensor in [*module.parameters(), *module.buffers()]
        ]

    @torch.no_grad()
    def refresh(self) -> None:
        """Fold the model's weights and statistics as they are now."""
        norms = [norm for _, norm in self._originals]
        eps = [float(norm.eps) for norm in norms]  # type: ignore[arg-type]  # a float of BatchNorm
        if eps != self._eps:
            per_channel = [
                e for e, size in zip(eps, self._sizes, strict=True) for _ in range(size)
            ]
            self._eps, self._eps_C = eps, torch.tensor(per_channel, device=self._device)
        variance_C = self._gather(norms, "running_var", default=1.0)
        scale_C = torch.rsqrt(variance_C + self._eps_C)
        scale_C *= self._gather(norms, "weight", default=1.0)
        bias_C = self._gather([layer for layer, _ in self._originals], "bias", default=0.0)
        bias_C -= self._gather(norms, "running_mean", default=0.0)
        bias_C *= scale_C
        bias_C += self._gather(norms, "bias", default=0.0)
        scales = torch.split(scale_C, self._sizes)
        for (layer, _), weight, scale in zip(self._originals, self._weights, scales, strict=True):
            original = layer.get_parameter("weight")
            torch.mul(original, scale.reshape(-1, *[1] * (weight.dim() - 1)), out=weight)
        torch._foreach_copy_(self._biases, list(torch.split(bias_C, self._sizes)))

    def _gather(self, modules: Sequence[nn.Module], name: str, *, default: float) -> torch.Tensor:
        """Return a vector of every module, float32, shape ``(C,)``, in new memory."""
        values = [getattr(module, name) for module in modules]
        filled = [
            torch.full((size,), default, device=self._device) if value is None else value
            for value, size in zip(values, self._sizes, strict=True)
        ]
        return torch.cat([*filled, torch.empty(0, device=self._device)])


def _fit(layer: nn.Module, norm: nn.Module) -> bool:
    if type(norm) not in _NORMS_AFTER.get(type(layer), ()):
        return False
    assert isinstance(layer, _Layer)
    assert isinstance(norm, _Norm)
    has_statistics = norm.running_mean is not None and norm.running_var is not None
    return has_statistics and norm.num_features == layer.weight.shape[0]


def _replace(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    for module in model.modules():
        for name, child in module._modules.items():
            if child is old:
                module._modules[name] = new
