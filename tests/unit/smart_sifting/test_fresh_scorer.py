from __future__ import annotations

import copy
import io
import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from sagemaker_sift.trainer.model import build_model
from smart_sifting._core import fresh_scorer, low_precision_copy
from smart_sifting._core.fresh_scorer import FreshScorer
from smart_sifting._core.low_precision_copy import LowPrecisionCopy
from smart_sifting._core.rank_agreement import spearman
from smart_sifting._core.scoring import score_batch

SIZE = 128
FOLDED, COPY, AUTOCAST = "folded bfloat16 copy", "bfloat16 copy", "bfloat16 autocast"


@pytest.fixture(autouse=True)
def fast_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fresh_scorer, "find_fast_dtype", lambda device: torch.bfloat16)


class CrossEntropy:
    def __init__(self) -> None:
        self.models: list[Any] = []

    def loss(self, model: Any, transformed_batch: Any, original_batch: Any) -> torch.Tensor:
        self.models.append(model)
        images, labels = transformed_batch
        return functional.cross_entropy(self.outputs(model, images), labels, reduction="none")

    def outputs(self, model: Any, images: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = model(images)
        return output


def seeded(build: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build()


def with_norms() -> nn.Module:
    return seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Flatten(),
            nn.Linear(8 * 16, 5),
        )
    )


def without_norms() -> nn.Module:
    return seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(108, 16), nn.Linear(16, 5)))


def batch(seed: int = 0, size: int = SIZE) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = 3 * torch.randn(size, 3, 6, 6, generator=generator)
    return images, torch.randint(0, 5, (size,), generator=generator)


def train(model: nn.Module, seed: int, learning_rate: float = 0.05) -> None:
    images, labels = batch(seed)
    model.train()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        functional.cross_entropy(model(images), labels).backward()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter -= learning_rate * parameter.grad
                parameter.grad = None


def settle(model: nn.Module, loss: Any = None, *, refresh_every: int = 1) -> FreshScorer:
    """Score once, which decides: the batch has as many samples as are compared."""
    scorer = FreshScorer(loss or CrossEntropy(), model, refresh_every=refresh_every)
    scorer.score(batch(), None)
    return scorer


class DataDependent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = with_norms()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.inner(images if images.sum() > -1e9 else -images)
        return output


@pytest.mark.parametrize(
    ("build", "method"),
    [
        (with_norms, FOLDED),
        (without_norms, COPY),
        (DataDependent, COPY),
        (lambda: with_norms().double(), "plain"),
        (lambda: with_norms().bfloat16(), "plain"),
        (lambda: nn.Sequential(without_norms()[:2], without_norms()[2].bfloat16().float()), COPY),
        (nn.Flatten, "plain"),
    ],
    ids=["norms", "none", "data", "float64", "16 bits", "nested", "no parameters"],
)
def test_the_cheapest_method_that_suits_the_model_is_used(build: Any, method: str) -> None:
    class Squares:
        def loss(self, model: Any, transformed_batch: Any, original_batch: Any) -> torch.Tensor:
            dtype = next((p.dtype for p in model.parameters()), torch.float32)
            output: torch.Tensor = model(transformed_batch[0].to(dtype))
            return output.float() ** 2

    model = build().train()
    scorer = settle(model, Squares())
    assert scorer.method == method
    losses_B = scorer.score(batch(1), None)
    plain_B = score_batch(Squares(), model, batch(1), None)
    assert losses_B.dtype == torch.float32
    assert spearman(losses_B, plain_B) >= 0.99
    assert torch.equal(losses_B, plain_B) == (method == "plain")


def test_our_own_network_is_scored_by_a_folded_copy() -> None:
    model = build_model(20, (3, 8, 8), 5).to(memory_format=torch.channels_last)
    images, labels = batch(size=SIZE)
    pixels = (40 * functional.interpolate(images, (8, 8)) + 128).clamp(0, 255)
    scorer = FreshScorer(CrossEntropy(), model)
    plain_B = scorer.score((pixels, labels), None)
    assert scorer.method == FOLDED
    losses_B = scorer.score((pixels, labels), None)
    assert not torch.equal(losses_B, plain_B)
    assert spearman(losses_B, plain_B) >= 0.99


def test_where_16_bits_are_not_fast_scoring_is_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fresh_scorer, "find_fast_dtype", lambda device: None)
    loss = CrossEntropy()
    scorer, model = FreshScorer(loss, with_norms()), with_norms()
    assert scorer.method == "undecided"
    plain_B = score_batch(CrossEntropy(), model, batch(), None)
    assert torch.equal(scorer.score(batch(), None), plain_B)
    assert scorer.method == "plain"
    assert len(loss.models) == 1


def test_which_device_is_fast_in_16_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    find = low_precision_copy.find_fast_dtype
    assert find(torch.device("mps")) is None
    for capability, dtype in (((8, 0), torch.bfloat16), ((7, 5), torch.float16)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, c=capability: c)
        assert find(torch.device("cuda")) == dtype
    monkeypatch.setattr(low_precision_copy.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False, raising=False)
    for is_supported, expected in ((True, torch.bfloat16), (False, None)):
        monkeypatch.setattr(
            torch.cpu, "_is_avx512_bf16_supported", lambda value=is_supported: value, raising=False
        )
        assert find(torch.device("cpu")) == expected


def run(model: nn.Module, scorer: FreshScorer, num_passes: int, first: int) -> list[torch.Tensor]:
    losses = []
    for seed in range(first, first + num_passes):
        losses.append(scorer.score(batch(seed), None))
        train(model, seed)
    return losses


class Draws(nn.Sequential):
    """Draws a random number, which tracing does too."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = super().forward(images)
        return output + 0 * torch.rand(1)


def test_the_model_is_left_as_it_was() -> None:
    model = Draws(*with_norms()).train()
    model[1].eval()
    train_flags = [module.training for module in model.modules()]
    state = copy.deepcopy(model.state_dict())
    attributes = [set(vars(module)) for module in model.modules()]
    scorer = FreshScorer(CrossEntropy(), model)
    random_state = torch.get_rng_state()
    for _ in range(6):
        scorer.score(batch(), None)
    assert scorer.method == FOLDED
    assert torch.equal(torch.get_rng_state(), random_state)
    assert [module.training for module in model.modules()] == train_flags
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert [set(vars(module)) for module in model.modules()] == attributes


def test_the_copy_shares_no_memory_and_needs_no_gradients() -> None:
    model = with_norms()
    scorer = settle(model)
    assert scorer._copy is not None
    own = {tensor.data_ptr() for tensor in [*model.parameters(), *model.buffers()]}
    copied = [*scorer._copy.parameters(), *scorer._copy.buffers()]
    assert not own & {tensor.data_ptr() for tensor in copied}
    assert not any(tensor.requires_grad for tensor in copied)
    assert not any(module.training for module in scorer._copy.modules())


def test_the_copy_follows_the_model_every_few_passes() -> None:
    model = without_norms()
    scorer = settle(model, refresh_every=4)  # takes over the values: the first of four passes
    first = scorer.score(batch(), None)
    with torch.no_grad():
        model[1].weight.mul_(2)
    assert torch.equal(scorer.score(batch(), None), first)
    assert torch.equal(scorer.score(batch(), None), first)
    assert not torch.equal(scorer.score(batch(), None), first)
    fresh = settle(model)
    assert torch.equal(scorer.score(batch(), None), fresh.score(batch(), None))


def test_a_changed_model_is_copied_anew() -> None:
    model = with_norms()
    scorer = FreshScorer(CrossEntropy(), model, refresh_every=1)
    scorer.score(batch(), None)
    model[5] = nn.Sequential(nn.Linear(128, 7), nn.ReLU(), nn.Linear(7, 5))
    losses_B = scorer.score(batch(), None)
    assert spearman(losses_B, score_batch(CrossEntropy(), model, batch(), None)) >= 0.99
    assert scorer.method == FOLDED


def test_switches_and_numbers_of_the_model_are_followed() -> None:
    class Switched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.is_halved, self.factor = with_norms(), False, 1.0

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            output: torch.Tensor = self.factor * self.inner(images)
            return output / 2 if self.is_halved else output

    model = Switched()
    scorer = FreshScorer(CrossEntropy(), model, refresh_every=1)
    before = [scorer.score(batch(), None) for _ in range(2)][-1]
    model.factor = 2.0
    doubled = scorer.score(batch(), None)
    assert not torch.allclose(doubled, before)
    model.is_halved = True
    torch.testing.assert_close(scorer.score(batch(), None), before, rtol=0.02, atol=0.02)


class CallsPart(CrossEntropy):
    def outputs(self, model: Any, images: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = model.inner(images)
        return output


class HoldsModel(CrossEntropy):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def outputs(self, model: Any, images: torch.Tensor) -> torch.Tensor:
        assert not self.model.training
        output: torch.Tensor = self.model(images)
        return output


class Uncopyable(DataDependent):
    def __deepcopy__(self, memo: Any) -> Any:
        raise TypeError("not to be copied")


def test_a_loss_that_calls_a_part_of_the_model_is_scored_under_autocast() -> None:
    assert settle(DataDependent(), CallsPart()).method == AUTOCAST


def test_a_loss_that_holds_the_model_is_scored_under_autocast() -> None:
    model = with_norms().train()
    assert settle(model, HoldsModel(model)).method == AUTOCAST
    assert model.training


def test_a_model_that_cannot_be_copied_is_scored_under_autocast(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, "smart_sifting.dataloader.sift_dataloader"):
        scorer = settle(Uncopyable())
    assert scorer.method == AUTOCAST
    assert [record.message for record in caplog.records] == [
        f"Losses are not scored by this method: {FOLDED}, because of TypeError: not to be copied.",
        f"Losses are not scored by this method: {COPY}, because of TypeError: not to be copied.",
        f"Losses are scored by this method: {AUTOCAST}.",
    ]


def test_the_loss_reads_settings_of_the_model_but_no_parts() -> None:
    class Configured(DataDependent):
        def __init__(self) -> None:
            super().__init__()
            self.config = {"classes": 5}

    class ReadsConfig(CrossEntropy):
        def outputs(self, model: Any, images: torch.Tensor) -> torch.Tensor:
            assert model.config is configured.config
            for name in ("inner", "absent"):
                assert hasattr(model, name) == (name == "inner" and model is configured)
            output: torch.Tensor = model(images=images)
            assert output.dtype == torch.float32 or not isinstance(model, LowPrecisionCopy)
            return output

    configured = Configured()
    assert settle(configured, ReadsConfig()).method == COPY


class Sensitive(nn.Module):
    """Right in float32; in 16 bits it raises, or gives nonsense. Cannot be traced meanwhile."""

    def __init__(self, is_failing: bool) -> None:
        super().__init__()
        self.inner, self.is_failing, self.is_on = with_norms(), is_failing, True

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.inner(images)
        if self.is_on and output.dtype == torch.bfloat16:
            if self.is_failing:
                raise RuntimeError("no kernel\nfor this")
            output = output.flip(0)
        return output


@pytest.mark.parametrize("is_failing", [True, False])
def test_after_all_candidates_scoring_is_plain_and_they_get_more_chances(
    is_failing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fresh_scorer, "PASSES_BEFORE_RETRY", (2, 3))
    model, loss = Sensitive(is_failing), CrossEntropy()
    scorer = FreshScorer(loss, model)
    plain_B = score_batch(loss, model, batch(), None)
    num_calls = []
    for _ in range(20):
        loss.models.clear()
        assert torch.equal(scorer.score(batch(), None), plain_B)
        assert scorer.method == "plain"
        num_calls.append(len(loss.models))
    if is_failing:  # each failure is followed by the next candidate within the pass
        assert num_calls == [3, 1, 1, 3, 1, 1, 1, 3] + [1] * 12
    else:
        assert num_calls == [2] * 2 + [1] * 2 + [2] * 2 + [1] * 3 + [2] * 2 + [1] * 9


def test_a_retry_can_succeed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fresh_scorer, "PASSES_BEFORE_RETRY", (1,))
    model = Sensitive(is_failing=True)
    scorer = settle(model)
    model.is_on = False
    scorer.score(batch(), None)
    assert scorer.method == "plain"
    scorer.score(batch(), None)
    assert scorer.method == FOLDED


def test_small_batches_are_compared_until_there_are_enough() -> None:
    loss = CrossEntropy()
    scorer = FreshScorer(loss, with_norms())
    methods = []
    for seed in range(5):
        scorer.score(batch(seed, size=32), None)
        methods.append(scorer.method)
    assert methods == ["plain"] * 3 + [FOLDED] * 2
    assert len(loss.models) == 2 * 4 + 1


def test_a_method_in_use_is_compared_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fresh_scorer, "PASSES_BETWEEN_CHECKS", 3)
    model, loss = Sensitive(is_failing=False), CrossEntropy()
    model.is_on = False
    scorer = FreshScorer(loss, model, refresh_every=4)
    methods, num_calls = [], []
    for step in range(12):
        model.is_on = step >= 6
        loss.models.clear()
        scorer.score(batch(), None)
        methods.append(scorer.method)
        num_calls.append(len(loss.models))
    assert num_calls == [2, 1, 1, 1, 2, 1, 1, 1, 2, 2, 1, 1]
    assert methods == [FOLDED] * 8 + ["plain"] * 4


def test_a_method_that_fails_in_use_is_replaced_within_the_pass() -> None:
    model = Sensitive(is_failing=True)
    model.is_on = False
    scorer = FreshScorer(CrossEntropy(), model, refresh_every=1)
    scorer.score(batch(), None)
    model.is_on = True
    plain_B = score_batch(CrossEntropy(), model, batch(), None)
    assert torch.equal(scorer.score(batch(), None), plain_B)
    assert scorer.method == "plain"


def test_the_users_own_error_is_raised_and_decides_nothing() -> None:
    class Fails(CrossEntropy):
        def outputs(self, model: Any, images: torch.Tensor) -> torch.Tensor:
            if images.isnan().any():
                raise KeyError("own error")
            return super().outputs(model, images)

    scorer = FreshScorer(Fails(), with_norms())
    bad = (batch()[0] * float("nan"), batch()[1])
    for method in ("undecided", FOLDED):
        with pytest.raises(KeyError, match="own error"):
            scorer.score(bad, None)
        assert scorer.method == method
        scorer.score(batch(), None)
    assert scorer.method == FOLDED


def test_an_untrained_network_cannot_be_judged_and_is_looked_at_again() -> None:
    model = without_norms()
    with torch.no_grad():
        model[2].weight.zero_()
        model[2].bias.zero_()
    scorer = settle(model)
    for _ in range(9):
        assert scorer.method == "plain"
        with torch.no_grad():
            model[2].weight.normal_(generator=torch.Generator().manual_seed(0))
        scorer.score(batch(), None)
    assert scorer.method == COPY


@pytest.mark.parametrize("build", [with_norms, Uncopyable])
@pytest.mark.parametrize("num_before", [0, 2, 4, 6, 7, 9])
def test_a_resumed_run_scores_to_the_bit_as_the_uninterrupted_one(
    build: Any, num_before: int
) -> None:
    model = build()
    scorer = FreshScorer(CrossEntropy(), model)
    for seed in range(num_before):
        scorer.score(batch(seed, size=64), None)
        train(model, seed)
    file = io.BytesIO()
    torch.save({"scorer": scorer.state_dict(), "model": model.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    resumed_model = build()
    resumed = FreshScorer(CrossEntropy(), resumed_model)
    resumed.load_state_dict(saved["scorer"])
    resumed_model.load_state_dict(saved["model"])
    assert resumed.method == scorer.method
    for again in (scorer, resumed):
        assert str(again.state_dict()) == str(saved["scorer"])
    for seed in range(num_before, num_before + 6):
        expected_B = scorer.score(batch(seed, size=64), None)
        assert torch.equal(resumed.score(batch(seed, size=64), None), expected_B)
        assert resumed.method == scorer.method
        train(model, seed)
        train(resumed_model, seed)


def test_a_state_of_another_device_or_model_is_decided_anew() -> None:
    state = settle(with_norms()).state_dict()
    model = with_norms().double()
    scorer = FreshScorer(CrossEntropy(), model)
    scorer.load_state_dict(state)
    images, labels = batch()
    scorer.score((images.double(), labels), None)
    assert scorer.method == "plain"
    other = FreshScorer(CrossEntropy(), without_norms())
    other.load_state_dict(state)
    losses_B = other.score(batch(), None)
    assert torch.equal(losses_B, score_batch(CrossEntropy(), without_norms(), batch(), None))
    assert other.method == "plain"


def test_a_moved_model_is_decided_anew() -> None:
    model = with_norms()
    scorer = settle(model)
    images, labels = batch()
    model.double()
    scorer.score((images.double(), labels), None)
    assert scorer.method == "plain"
    model.float()
    scorer.score(batch(), None)
    assert scorer.method == FOLDED


class Compiled(nn.Module):
    """What ``torch.compile`` returns is made like this."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._orig_mod = model

    def forward(self, *args: Any) -> Any:
        return self._orig_mod(*args)


@pytest.mark.parametrize(
    "wrap",
    [Compiled, lambda model: nn.Sequential(Compiled(model)), lambda m: Compiled(Compiled(m))],
    ids=["all", "a part", "twice"],
)
def test_of_a_compiled_model_what_is_inside_is_copied(wrap: Any) -> None:
    model = wrap(with_norms())
    scorer = settle(model)
    assert scorer.method == FOLDED
    assert scorer._copy is not None
    assert not any(isinstance(module, Compiled) for module in scorer._copy.modules())
    plain_B = score_batch(CrossEntropy(), model, batch(), None)
    assert spearman(scorer.score(batch(), None), plain_B) >= 0.99


def test_hooks_run_and_see_no_symbols() -> None:
    seen: list[Any] = []
    model = with_norms()
    model[0].register_forward_hook(lambda module, args, output: seen.append(type(output)))
    scorer = settle(model)
    assert scorer.method == COPY
    assert set(seen) == {torch.Tensor}


def test_what_trains_the_model_is_not_copied_along() -> None:
    class Trainer:
        def __deepcopy__(self, memo: Any) -> Any:
            raise AssertionError("it holds the loaders")

    model = with_norms()
    model.__dict__["_trainer"] = Trainer()
    assert settle(model).method == FOLDED


def test_a_remembered_tensor_with_a_graph_does_not_hinder_the_copy() -> None:
    model = with_norms()
    model.__dict__["remembered"] = 2 * model[5].weight
    assert settle(model).method == FOLDED


def test_a_loss_that_leaves_the_model_in_training_mode_is_scored_in_eval_mode() -> None:
    class Trains(CrossEntropy):
        def outputs(self, model: Any, images: torch.Tensor) -> torch.Tensor:
            output = super().outputs(model, images)
            model.train()
            return output

    scorer = settle(with_norms(), Trains())
    expected = settle(with_norms())
    for _ in range(2):
        assert torch.equal(scorer.score(batch(), None), expected.score(batch(), None))


def test_an_autocast_region_of_the_loop_changes_nothing() -> None:
    class Asks(DataDependent):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append(torch.is_autocast_enabled("cpu"))
            return super().forward(images)

    seen: list[bool] = []
    model = Asks()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scorer = settle(model)
        scorer.score(batch(), None)
        model(batch()[0]).float().sum().backward()
    assert scorer.method == COPY
    assert seen[0]
    assert not seen[-2]  # the copy has its dtype already
    assert seen[-1]
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_of_a_ddp_model_the_inner_one_is_copied() -> None:
    class Shell(nn.parallel.DistributedDataParallel):
        def __init__(self, module: nn.Module) -> None:
            nn.Module.__init__(self)
            self.module = module
            self.require_forward_param_sync = True

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            raise AssertionError("the wrapper may call collectives")

    scorer, inner = settle(Shell(with_norms())), settle(with_norms())
    assert scorer.method == FOLDED
    assert torch.equal(scorer.score(batch(), None), inner.score(batch(), None))


def test_a_ddp_model_that_the_loss_holds_calls_no_collectives() -> None:
    class Shell(nn.parallel.DistributedDataParallel):
        def __init__(self, module: nn.Module) -> None:
            nn.Module.__init__(self)
            self.module = module
            self.require_forward_param_sync = True

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            assert not self.require_forward_param_sync
            return self.module(*args)

    class AlsoHeld(HoldsModel):
        def outputs(self, model: Any, images: torch.Tensor) -> torch.Tensor:
            output: torch.Tensor = model(images) + 0 * super().outputs(model, images)
            return output

    model = Shell(with_norms().train())
    scorer = settle(model, AlsoHeld(model))
    scorer.score(batch(), None)
    assert scorer.method == FOLDED
    assert model.require_forward_param_sync
    assert model.module.training
