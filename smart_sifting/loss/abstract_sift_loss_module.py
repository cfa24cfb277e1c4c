"""The loss that decides which samples matter.

Source: interface from
https://docs.aws.amazon.com/sagemaker/latest/dg/train-smart-sifting-pysdk-reference.html
"""

from __future__ import annotations

from typing import Any

import torch

from smart_sifting.exceptions import LossImplementationNotProvidedException

__all__ = ["Loss", "LossImplementationNotProvidedException", "check_loss_impl"]


class Loss:
    """Gives one loss per sample; subclass it and write ``loss``.

    Any object with a callable ``loss`` of this signature does as well. ``super().__init__()``
    need not be called.

    **Ownership**: the model and the batches belong to the training loop; ``loss`` reads them. It
    runs without gradients, with the model in eval mode.

    Example:
        >>> class SquaredError(Loss):
        ...     def loss(self, model, transformed_batch, original_batch=None):
        ...         inputs, targets = original_batch
        ...         return torch.nn.functional.mse_loss(model(inputs), targets, reduction="none")
        >>> batch = [torch.ones(2, 1), torch.tensor([[0.0], [3.0]])]
        >>> SquaredError().loss(torch.nn.Identity(), batch, batch)
        tensor([[1.],
                [4.]])
    """

    def loss(
        self, model: torch.nn.Module, transformed_batch: Any, original_batch: Any = None
    ) -> torch.Tensor:
        """Return the loss of each sample.

        Args:
            model: The model as it is now; the inner one, if it was given wrapped for DDP.
            transformed_batch: What ``batch_transforms.transform`` returned; the batch itself if
                there are no batch transforms.
            original_batch: The batch as the wrapped loader gave it.

        Returns:
            One loss per sample (``reduction='none'``), shape ``(B, ...)``, any device. Further
            dimensions are averaged to one loss per sample.

        Raises:
            LossImplementationNotProvidedException: Always, unless overridden.
        """
        raise LossImplementationNotProvidedException(
            f"{type(self).__name__} does not implement `loss(model, transformed_batch, "
            "original_batch)`. Write it so that it returns one loss per sample."
        )


def check_loss_impl(loss_impl: object, *, argument: str = "loss_impl") -> None:
    """Raise unless ``loss_impl`` is an object that can give losses.

    Args:
        loss_impl: What the user gave as loss implementation.
        argument: The name of the argument that it was given as.

    Raises:
        LossImplementationNotProvidedException: If it is None, a class, or has no ``loss`` of its
            own.

    Example:
        >>> check_loss_impl(None)
        Traceback (most recent call last):
        smart_sifting.exceptions.LossImplementationNotProvidedException: `loss_impl` is None, ...
    """
    remedy = "Give an object with `loss(model, transformed_batch, original_batch)`."
    if isinstance(loss_impl, type):
        raise LossImplementationNotProvidedException(
            f"`{argument}` is the class {loss_impl.__name__}, but must be an instance: "
            f"{loss_impl.__name__}(...). {remedy}"
        )
    is_base = getattr(type(loss_impl), "loss", None) is Loss.loss
    if is_base or not callable(getattr(loss_impl, "loss", None)):
        raise LossImplementationNotProvidedException(
            f"`{argument}` is {loss_impl!r}, which does not implement the Loss interface. {remedy}"
        )
