"""Ways to train one network on one data set, each advanced an epoch at a time.

All of them take the same network, optimizer, batch size, augmentation and learning rate, which is
a function of the share of the data presented so far: so it is fully decayed at the end of each.

Shape suffixes in this file: B = images in the batch.
"""

from __future__ import annotations

import bisect
import math
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from image_sets import CROP, SIDE, ImageSet
from torch.nn import functional

from sagemaker_sift.trainer.model import build_model
from smart_sifting import Loss, SiftingDataloader

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Recipe:
    """What all ways to train have in common."""

    num_epochs: int
    batch_size: int
    peak_rate: float
    num_layers: int = 20
    weight_decay: float = 5e-4
    warm_up: float = 0.15
    is_bfloat16: bool = False
    is_augmented: bool = True

    def autocast(self) -> torch.autocast:
        """Return the context of a forward pass."""
        return torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.is_bfloat16)

    def rate(self, progress: float) -> float:
        """Return the learning rate after a share of the training: up linearly, down by cosine."""
        if progress < self.warm_up:
            return self.peak_rate * max(0.02, progress / self.warm_up)
        share = (progress - self.warm_up) / (1 - self.warm_up)
        return self.peak_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


class Batches:
    """Batches of random crops, mirrored at random, in an order drawn anew each epoch.

    Without augmentation they are the crops from the middle.

    Attributes:
        kept_fraction: Share of the images, drawn at random, that an epoch has.
    """

    drop_last = False

    def __init__(self, images: ImageSet, recipe: Recipe, seed: int) -> None:
        self.batch_size = recipe.batch_size
        self._is_augmented = recipe.is_augmented
        self.kept_fraction = 1.0
        self.generator = torch.Generator().manual_seed(seed)
        self._set = images

    def __len__(self) -> int:
        return -(-len(self._set.train_labels) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        num_images = len(self._set.train_labels)
        order = torch.randperm(num_images, generator=self.generator)
        for ids in order[: round(self.kept_fraction * num_images)].split(self.batch_size):
            if not self._is_augmented:
                yield crop_middle(self._set.train_images[ids]), self._set.train_labels[ids], ids
                continue
            corners = torch.randint(0, SIDE - CROP + 1, (2, len(ids)), generator=self.generator)
            rows, columns = corners[:, :, None] + torch.arange(CROP)
            images = self._set.train_images.permute(0, 2, 3, 1)[
                ids[:, None, None], rows[:, :, None], columns[:, None, :]
            ].permute(0, 3, 1, 2)
            is_mirrored = torch.rand(len(ids), generator=self.generator) < 0.5
            images = torch.where(is_mirrored[:, None, None, None], images.flip(3), images)
            yield images, self._set.train_labels[ids], ids


def crop_middle(images: torch.Tensor) -> torch.Tensor:
    """Return the middle of each image."""
    inset = (SIDE - CROP) // 2
    return images[:, :, inset : inset + CROP, inset : inset + CROP]


def to_input(images: torch.Tensor) -> torch.Tensor:
    """Return the network's input."""
    return images.to(torch.float32, memory_format=torch.channels_last)


class CrossEntropy(Loss):
    """The loss of each image."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe

    def loss(self, model: Any, transformed_batch: Any, original_batch: Any = None) -> torch.Tensor:
        """Return the losses, shape ``(B,)``."""
        images, labels, _ = original_batch
        with self._recipe.autocast():
            logits = model(to_input(images))
        return functional.cross_entropy(logits.float(), labels, reduction="none")


class Arm:
    """Plain training; the base of the others.

    Attributes:
        seconds: Wall-clock time of training so far.
        cpu_seconds: Processor time of it.
        num_presented: Images that were presented, trained or not.
        num_trained: Images that were trained.
    """

    def __init__(self, images: ImageSet, recipe: Recipe, seed: int) -> None:
        self.images = images
        self.recipe = recipe
        self.batches = Batches(images, recipe, 1000 + seed)
        generator = torch.Generator().manual_seed(seed)
        network = build_model(
            recipe.num_layers, (3, CROP, CROP), images.num_classes, generator=generator
        )
        self.network: torch.nn.Module = network.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.SGD(
            [p for p in network.parameters() if p.requires_grad],
            lr=0.0,
            momentum=0.9,
            nesterov=True,
            weight_decay=recipe.weight_decay,
        )
        self.epoch = 0
        self.seconds = self.cpu_seconds = 0.0
        self.num_presented = self.num_trained = 0

    @property
    def is_done(self) -> bool:
        """Whether all epochs are trained."""
        return self.epoch >= self.recipe.num_epochs

    def train_epoch(self) -> None:
        """Train one epoch and take its time."""
        started, started_cpu = time.perf_counter(), time.process_time()
        self._train_epoch()
        self.seconds += time.perf_counter() - started
        self.cpu_seconds += time.process_time() - started_cpu
        self.epoch += 1

    def accuracy(self) -> float:
        """Return the share of test images that are classified right, by their centre crop."""
        images = crop_middle(self.images.test_images)
        num_right = 0
        self.network.eval()
        with torch.inference_mode():
            pairs = zip(images.split(500), self.images.test_labels.split(500), strict=True)
            for part, labels in pairs:
                num_right += int((self.network(to_input(part)).argmax(1) == labels).sum())
        self.network.train()
        return num_right / len(images)

    def state_dict(self) -> dict[str, Any]:
        """Return all that is needed to go on between two epochs."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.batches.generator.get_state(),
            "counts": [self.epoch, self.num_presented, self.num_trained],
            "seconds": [self.seconds, self.cpu_seconds],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.batches.generator.set_state(state["generator"])
        self.epoch, self.num_presented, self.num_trained = state["counts"]
        self.seconds, self.cpu_seconds = state["seconds"]

    def _train_epoch(self) -> None:
        num_batches = len(self.batches)
        for idx, (images, labels, _) in enumerate(self.batches):
            self._step(images, labels, self.epoch + (idx + 1) / num_batches)
        self.num_presented += len(self.images.train_labels)

    def _step(self, images: torch.Tensor, labels: torch.Tensor, progress: float) -> torch.Tensor:
        """Take a step; return the losses, shape ``(B,)``."""
        if len(labels) < 2:
            return torch.zeros(len(labels))
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate(progress / self.recipe.num_epochs)
        self.optimizer.zero_grad(set_to_none=True)
        with self.recipe.autocast():
            logits = self.network(to_input(images))
        losses = functional.cross_entropy(logits.float(), labels, reduction="none")
        (losses.sum() / self.recipe.batch_size).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.num_trained += len(labels)
        return losses.detach()


class Sifted(Arm):
    """Training behind a SiftingDataloader."""

    def __init__(
        self,
        images: ImageSet,
        recipe: Recipe,
        seed: int,
        *,
        beta: float,
        scoring: str,
        delay_epochs: float | None = None,
        unsifted_share: float = 0.0,
        max_score_age: int = 3,
        weighting: str = "none",
        stop_if_slower: bool = False,
        updates_batch_norm: bool = False,
        loss_history_length: int = 1024,
    ) -> None:
        super().__init__(images, recipe, seed)
        delay: Any = "auto"
        if delay_epochs is not None:
            delay = round(delay_epochs * len(self.batches))
        base = {
            "sift_delay": delay,
            "unsifted_share": unsifted_share,
            "num_epochs": recipe.num_epochs,
        }
        self.loader = SiftingDataloader(
            {
                "beta_value": beta,
                "loss_history_length": loss_history_length,
                "weighting": weighting,
                "loss_based_sift_config": {"sift_config": base},
            },
            self.batches,
            loss_impl=CrossEntropy(recipe),
            model=self.network,
            seed=seed,
            scoring=scoring,  # type: ignore[arg-type]
            max_score_age=max_score_age,
            sample_ids=lambda batch: batch[2],
            stop_if_slower=stop_if_slower,
        )
        self._is_weighted = weighting != "none"
        self._updates_batch_norm = updates_batch_norm

    def state_dict(self) -> dict[str, Any]:
        """Return all that is needed to go on between two epochs."""
        return super().state_dict() | {"loader": self.loader.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        super().load_state_dict(state)
        self.loader.load_state_dict(state["loader"])

    @property
    def kept_fraction(self) -> float:
        """Share of the images that the last epoch trained."""
        return float(self.loader.statistics.epoch.kept_fraction)

    def _train_epoch(self) -> None:
        for images, labels, _ in self.loader:
            self.loader.record_losses(self._step(images, labels, self.loader.progress))
        self.num_presented = self.loader.statistics.samples_seen
        if self._updates_batch_norm and self.epoch == self.recipe.num_epochs - 1:
            self.loader.update_batch_norm()


class Random(Arm):
    """Random choice of the fraction that another arm kept in each epoch.

    What is not chosen is not even loaded, which is in its favour.
    """

    def __init__(self, images: ImageSet, recipe: Recipe, seed: int, *, like: Sifted) -> None:
        super().__init__(images, recipe, seed)
        self._like = like

    def _train_epoch(self) -> None:
        self.batches.kept_fraction = self._like.kept_fraction
        chosen = list(range(len(self.batches)))
        num_steps = max(1, round(len(chosen) * self.batches.kept_fraction))
        for idx, (images, labels, _) in enumerate(self.batches):
            self._step(images, labels, self.epoch + min(1.0, (idx + 1) / num_steps))
        self.num_presented += len(self.images.train_labels)


class TwoForward(Arm):
    """Selective backpropagation as published, written for reference: everything is forwarded.

    The first epoch is trained whole. Source: Jiang et al. 2019, https://arxiv.org/abs/1910.00762:
    an eval-mode forward pass without gradients; P(keep) = percentile ** beta among the latest
    1,024 losses; kept samples wait until a batch is full.
    """

    def __init__(self, images: ImageSet, recipe: Recipe, seed: int, *, beta: float) -> None:
        super().__init__(images, recipe, seed)
        self._beta = beta
        self._history: deque[float] = deque(maxlen=1024)
        self._draws = torch.Generator().manual_seed(5000 + seed)

    def _train_epoch(self) -> None:
        pooled: list[tuple[torch.Tensor, torch.Tensor]] = []
        num_batches = len(self.batches)
        size = self.recipe.batch_size
        for idx, (images, labels, _) in enumerate(self.batches):
            progress = self.epoch + (idx + 1) / num_batches
            if self.epoch == 0:
                self._step(images, labels, progress)
                continue
            is_kept = self._choose(images, labels)
            pooled.append((images[is_kept], labels[is_kept]))
            if sum(len(part[1]) for part in pooled) >= size:
                all_images, all_labels = (torch.cat(parts) for parts in zip(*pooled, strict=True))
                self._step(all_images[:size], all_labels[:size], progress)
                pooled = [(all_images[size:], all_labels[size:])]
        if pooled:
            images, labels = (torch.cat(parts) for parts in zip(*pooled, strict=True))
            self._step(images, labels, self.epoch + 1)
        self.num_presented += len(self.images.train_labels)

    def _choose(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        self.network.eval()
        with torch.no_grad(), self.recipe.autocast():
            logits = self.network(to_input(images))
        self.network.train()
        losses = functional.cross_entropy(logits.float(), labels, reduction="none").tolist()
        self._history.extend(losses)
        ranked = sorted(self._history)
        percentiles = [
            (bisect.bisect_left(ranked, loss) + bisect.bisect_right(ranked, loss))
            / (2 * len(ranked))
            for loss in losses
        ]
        draws = torch.rand(len(losses), generator=self._draws)
        return draws < torch.tensor(percentiles) ** self._beta
