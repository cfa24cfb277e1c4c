"""Losses of a batch that rank like those of an evaluation pass, at about half its price."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from smart_sifting._core import log_lines
from smart_sifting._core.low_precision_copy import (
    LowPrecisionCopy,
    find_fast_dtype,
    strip_compilation,
)
from smart_sifting._core.rank_agreement import MIN_AGREEMENT, judge_losses
from smart_sifting._core.scoring import (
    LossImplementation,
    find_inner_model,
    score_batch,
    unchanged_random_state,
)
from smart_sifting._core.sharding import check_model_is_whole

PASSES_BEFORE_RETRY = (8, 64, 512)
"""How many plain passes come before the cheaper methods are tried again, the first time and on."""

PASSES_BETWEEN_CHECKS = 512
NUM_COMPARED = 128
"""How many samples are compared before a method is judged."""

_PASSES_BEFORE_SECOND_LOOK = 8
_PLAIN, _UNDECIDED = "plain", "undecided"
_COUNTERS = ("position", "wait", "num_retries", "num_since_check", "age")


class FreshScorer:
    """Scores with whatever is cheapest and ranks the samples like the model itself.

    The candidates, in this order: a copy of the model in 16 bits with BatchNorm folded into the
    layers before it, the same without folding, the model itself under autocast; where the device
    is fast in 16 bits and the parameters are float32. Each is compared with plain float32 scoring
    until 128 samples are compared, and is used if Spearman's rank correlation of the losses is at
    least 0.99; meanwhile the plain losses are returned. One that fails or disagrees is passed
    over. If none is left, scoring is plain, and all are tried again after 8, 64 and 512 passes.
    One in use is compared again every 512 passes. All this depends on counters, losses and the
    device, never on the clock.

    All promises of ``score_batch`` hold. The copy takes as much memory as half of the parameters.
    It follows numbers, switches and strings that are attributes of the model's modules as well as
    parameters and buffers; if modules or shapes change, it is made anew. Hooks of the model run in
    the copy too. ``loss_impl.loss`` may be called more than once for a batch.

    Args:
        loss_impl: Gives the losses.
        model: The model that is being trained.
        refresh_every: After how many scoring passes the copy takes over the model's values,
            ``>= 1``. While a method is compared it does so in every pass.

    Example:
        >>> class SquaredError:
        ...     def loss(self, model, transformed_batch, original_batch):
        ...         return (model(transformed_batch) - original_batch) ** 2
        >>> scorer = FreshScorer(SquaredError(), torch.nn.Linear(3, 1))
        >>> scorer.method
        'undecided'
        >>> scorer.score(torch.ones(2, 3), torch.zeros(2, 1)).shape
        torch.Size([2])
    """

    _method: str
    _phase: str
    _position: int
    _wait: int
    _num_retries: int
    _num_since_check: int
    _age: int
    _compared: list[tuple[torch.Tensor, torch.Tensor]]

    def __init__(
        self, loss_impl: LossImplementation, model: torch.nn.Module, *, refresh_every: int = 1
    ) -> None:
        self._loss_impl = loss_impl
        self._model = model
        self._refresh_every = refresh_every
        self._place: tuple[torch.device, torch.dtype] | None = None
        self._dtype: torch.dtype | None = None
        self._candidates: list[str] | None = None
        self._logged: str | None = None
        self._loaded: Mapping[str, Any] | None = None
        self._copy: LowPrecisionCopy | None = None
        self._saved_copy: list[torch.Tensor] = []
        self._begin()

    @property
    def method(self) -> str:
        """How losses are computed: ``undecided`` before the first pass; then what the last used.

        One of ``folded bfloat16 copy``, ``bfloat16 copy``, ``bfloat16 autocast`` (or ``float16``
        in place of ``bfloat16``) and ``plain``; the latter also while others are being compared.
        """
        return self._method if self._loaded is None else str(self._loaded["method"])

    @property
    def is_comparing(self) -> bool:
        """Whether the next pass is made in two ways, to compare them, and so costs more."""
        self._find_candidates()
        self._apply_loaded()
        return self._phase == "comparing"

    def score(self, transformed_batch: Any, original_batch: Any) -> torch.Tensor:
        """Return the loss of each sample.

        Args:
            transformed_batch: The batch after the batch transforms.
            original_batch: The batch as loaded.

        Returns:
            Losses, shape ``(B,)``, float32, on the device where ``loss_impl`` left them.

        Raises:
            Exception: What ``loss_impl`` raises with the model itself.
        """
        batches = (transformed_batch, original_batch)
        self._find_candidates()
        self._apply_loaded()
        if self._phase == "chosen":
            return self._score_as_chosen(*batches)
        if self._phase == "comparing":
            return self._compare(*batches)
        loss_B = score_batch(self._loss_impl, self._model, *batches)
        self._method = _PLAIN
        if self._phase == "waiting":
            self._wait -= 1
            if self._wait == 0:
                self._phase = "comparing"
        return loss_B

    def state_dict(self) -> dict[str, Any]:
        """Return all that is needed to score on as if nothing had been, as plain values.

        The copy's tensors are in it, unless the next pass takes over the model's values anyway.
        """
        if self._loaded is not None:
            return dict(self._loaded)
        is_copy_needed = self._phase == "chosen" and self._age < self._refresh_every
        values = self._saved_copy
        if self._copy is not None:
            values = self._copy.values()
        return {
            "method": self._method,
            "candidates": list(self._candidates or []),
            "phase": self._phase,
            **{name: getattr(self, f"_{name}") for name in _COUNTERS},
            "compared": [[loss_B.cpu() for loss_B in pair] for pair in self._compared],
            "copy": [value.to("cpu", copy=True) for value in values] if is_copy_needed else [],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned.

        The model's own values may be loaded before or after. On another kind of device, or with
        another kind of model, all is decided anew; so it is from an empty state, which is that of
        plain scoring.
        """
        self._begin()
        self._candidates = None
        self._loaded = dict(state) or None

    def _apply_loaded(self) -> None:
        state, self._loaded = self._loaded, None
        if state is None or not self._candidates or self._candidates != state["candidates"]:
            return
        self._method, self._phase = state["method"], state["phase"]
        for name in _COUNTERS:
            setattr(self, f"_{name}", state[name])
        self._compared = [(plain_B, other_B) for plain_B, other_B in state["compared"]]
        self._saved_copy = list(state["copy"])
        if self._phase == "chosen":
            self._log(self._method)

    def _begin(self) -> None:
        self._method = _UNDECIDED
        self._phase = "comparing"
        self._position = 0
        self._wait = self._num_retries = self._num_since_check = self._age = 0
        self._compared = []
        self._copy = None
        self._saved_copy = []

    def _find_candidates(self) -> None:
        """Find out what may be tried, again if the model has moved."""
        parameter = next(self._model.parameters(), None)
        place = None if parameter is None else (parameter.device, parameter.dtype)
        if self._candidates is not None and place == self._place:
            return
        if self._candidates is not None:
            self._begin()
        self._place = place
        self._dtype, kinds = _find_kinds(self._model)
        name = str(self._dtype).removeprefix("torch.")
        self._candidates = [kind.format(name) for kind in kinds]
        if not self._candidates:
            self._phase = "given up"
            self._log(_PLAIN)

    def _score_as_chosen(self, *batches: Any) -> torch.Tensor:
        try:
            loss_B = self._score_by_candidate(*batches)
        except Exception as error:  # noqa: BLE001  # whatever it is: does it happen without a copy?
            loss_B = score_batch(self._loss_impl, self._model, *batches)
            self._pass_over(_describe(error))
            return loss_B
        self._num_since_check += 1
        if self._num_since_check >= PASSES_BETWEEN_CHECKS:
            self._phase = "comparing"
        return loss_B

    def _compare(self, *batches: Any) -> torch.Tensor:
        """Score plainly, and by the candidate beside it."""
        plain_B = score_batch(self._loss_impl, self._model, *batches)
        is_chosen = self._num_since_check > 0
        self._method = self._method if is_chosen else _PLAIN
        while self._phase == "comparing":
            try:
                other_B = self._score_by_candidate(*batches)
                if other_B.shape != plain_B.shape:
                    raise ValueError("it gives another number of losses")
            except Exception as error:  # noqa: BLE001  # a candidate may fail in any way
                self._pass_over(_describe(error))
            else:
                self._compared.append((plain_B, other_B))
                break
        if sum(plain.numel() for plain, _ in self._compared) >= NUM_COMPARED:
            plain_N, other_N = (torch.cat(losses) for losses in zip(*self._compared, strict=True))
            self._compared = []
            self._decide(judge_losses(plain_N, other_N))
        return plain_B

    def _decide(self, agrees: bool | None) -> None:
        assert self._candidates is not None
        if agrees is False:
            self._pass_over(f"its losses agree with the plain ones less than {MIN_AGREEMENT}")
        elif agrees or self._num_since_check:
            self._phase, self._num_since_check = "chosen", 0
            self._method = self._candidates[self._position]
            self._log(self._method)
        else:
            self._phase, self._wait = "waiting", _PASSES_BEFORE_SECOND_LOOK

    def _pass_over(self, reason: str) -> None:
        assert self._candidates is not None
        log_lines.log_passed_over(self._candidates[self._position], reason)
        self._method, self._phase = _PLAIN, "comparing"
        self._compared, self._copy, self._saved_copy = [], None, []
        self._num_since_check = self._age = 0
        self._position += 1
        if self._position < len(self._candidates):
            return
        self._position = 0
        self._phase = "given up"
        if self._num_retries < len(PASSES_BEFORE_RETRY):
            self._phase, self._wait = "waiting", PASSES_BEFORE_RETRY[self._num_retries]
            self._num_retries += 1
        self._log(_PLAIN)

    def _score_by_candidate(self, *batches: Any) -> torch.Tensor:
        assert self._candidates is not None
        assert self._place is not None
        candidate = self._candidates[self._position]
        if candidate.endswith("autocast"):
            with torch.autocast(self._place[0].type, dtype=self._dtype, cache_enabled=False):
                return score_batch(self._loss_impl, self._model, *batches)
        stand_in = self._prepare_copy(is_folded=candidate.startswith("folded"))
        stand_in.num_calls = 0
        loss_B = score_batch(self._loss_impl, self._model, *batches, stand_in=stand_in)
        if not stand_in.num_calls:
            raise ValueError("`loss_impl` does not call the model that it is given")
        self._age += 1
        return loss_B

    def _prepare_copy(self, *, is_folded: bool) -> LowPrecisionCopy:
        """Return the copy with the values that it is to have in this pass."""
        is_due = self._phase == "comparing" or self._age >= self._refresh_every
        if is_due and self._copy is not None and self._copy.is_outdated:
            self._copy = None
        if self._copy is None:
            assert self._dtype is not None
            inner_model = strip_compilation(find_inner_model(self._model))
            with unchanged_random_state(inner_model):
                self._copy = LowPrecisionCopy(inner_model, self._dtype, is_folded=is_folded)
            is_due = is_due or not self._copy.load_values(self._saved_copy)
            self._age = 0 if is_due else self._age
        elif is_due:
            self._copy.refresh()
            self._age = 0
        self._saved_copy = []
        return self._copy

    def _log(self, method: str) -> None:
        if method != self._logged:
            self._logged = method
            log_lines.log_scoring_method(method)


def _find_kinds(model: torch.nn.Module) -> tuple[torch.dtype | None, tuple[str, ...]]:
    """Return the 16-bit dtype for a model, and the names of the methods that suit it."""
    parameters = list(model.parameters())
    devices = {parameter.device for parameter in parameters}
    dtypes = {parameter.dtype for parameter in parameters}
    if len({device.type for device in devices}) != 1 or torch.float32 not in dtypes:
        return None, ()
    try:
        check_model_is_whole(model)
    except ValueError:
        return None, ()
    dtype = find_fast_dtype(parameters[0].device)
    if dtype is None or any(d.is_complex or d == torch.float64 for d in dtypes):
        return None, ()
    if len(devices) > 1 or any(d.is_floating_point for d in dtypes - {torch.float32}):
        return dtype, ("{} autocast",)
    return dtype, ("folded {} copy", "{} copy", "{} autocast")


def _describe(error: Exception) -> str:
    """Return type and first line of an error, in one sentence."""
    first_line = (str(error).splitlines() or [""])[0]
    return f"of {type(error).__name__}: {first_line}".rstrip(".: ")
