"""Weights that undo the bias of keeping samples of high loss more often.

Shape suffixes in this file: B = samples in the batch.
"""

from __future__ import annotations

import torch

from smart_sifting._core.relative_probability import mean_keep_probability
from smart_sifting._core.selection import Selection


class Weigher:
    """Gives a kept sample the weight ``r / P(keep)``, at most ``max_weight``.

    ``r`` is the expected kept fraction, ``1 / (1 + beta)``, so that without the limit the weights
    of the kept samples are 1 on average, and their weighted mean loss is that of all samples.
    With an upper cut ``r`` is the kept fraction of the samples below it, and the mean is theirs.

    Source: Horvitz and Thompson 1952, "A Generalization of Sampling Without Replacement From a
    Finite Universe".

    Args:
        beta: Selectivity, positive and finite.
        max_weight: ``>= 1``.
        max_percentile: The selector's cut, in (0, 1].

    Example:
        >>> from types import SimpleNamespace
        >>> selection = SimpleNamespace(probabilities=torch.tensor([1.0, 0.5, 0.001]))
        >>> Weigher(beta=1, max_weight=5).weigh(selection)
        tensor([0.5000, 1.0000, 5.0000])
    """

    def __init__(self, *, beta: float, max_weight: float, max_percentile: float = 1.0) -> None:
        all_kept = mean_keep_probability(beta, max_percentile=max_percentile)
        self._kept_fraction = all_kept / max_percentile
        self._max_weight = max_weight

    def weigh(self, selection: Selection) -> torch.Tensor:
        """Return a weight for each sample of the batch, shape ``(B,)``, float32, on the CPU.

        Args:
            selection: What was selected; of samples that were not kept the weights mean nothing.
        """
        return (self._kept_fraction / selection.probabilities).clamp(max=self._max_weight)
