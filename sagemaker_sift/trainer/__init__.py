"""The bundled algorithm: what the training container runs.

It needs torch, and neither AWS nor the client: the two sides meet in
:mod:`sagemaker_sift.contract`. For a tour read, in this order, ``main``, ``job``, ``loop``.
"""

from sagemaker_sift.trainer.errors import TrainingError
from sagemaker_sift.trainer.trained_model import TrainedModel, load_model

__all__ = ["TrainedModel", "TrainingError", "load_model"]
