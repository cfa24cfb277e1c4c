"""How a trained model is asked for predictions, as SageMaker's ``InferenceSpecification``.

The interface is that of SageMaker's built-in image classification algorithm: a request carries one
image, and the answer is the probability of each class. The program that serves it is not part of
this version; what is written here is what its image will have to do:

- ``docker run IMAGE serve`` listens on port 8080. ``GET /ping`` answers 200 with an empty body
  once the model of ``/opt/ml/model`` is loaded.
- ``POST /invocations`` takes one image of :data:`REQUEST_CONTENT_TYPES`, resized to
  ``image_shape`` without a crop.
- With ``Accept: application/json`` the answer is a list, ``[0.1, 0.9]``; with
  ``application/jsonlines``, which batch transform uses, a line ``{"prediction": [0.1, 0.9]}``.
  With ``multi_label`` each probability is of its class by itself.

Source: "Image Classification - MXNet: input/output interface" and "Use your own inference code",
SageMaker developer guide; API reference of ``InferenceSpecification``.
"""

from __future__ import annotations

from typing import Any

from sagemaker_sift.contract.channels import IMAGE_CONTENT_TYPES
from sagemaker_sift.contract.specification import INSTANCE_TYPES

REQUEST_CONTENT_TYPES = IMAGE_CONTENT_TYPES
"""Accepted ``Content-Type`` of a request."""

RESPONSE_CONTENT_TYPES = ("application/json", "application/jsonlines")
"""Possible ``Content-Type`` of an answer."""

_NOT_FOR_TRANSFORM = ("ml.p3dn.24xlarge", "ml.p4d.24xlarge", "ml.p5.48xlarge")
_NOT_FOR_ENDPOINTS = ("ml.p3dn.24xlarge",)

TRANSFORM_INSTANCE_TYPES = tuple(t for t in INSTANCE_TYPES if t not in _NOT_FOR_TRANSFORM)
"""Instance types for batch transform: those of training that SageMaker transforms on."""

REALTIME_INSTANCE_TYPES = tuple(t for t in INSTANCE_TYPES if t not in _NOT_FOR_ENDPOINTS)
"""Instance types for endpoints: those of training that SageMaker hosts models on."""


def build_inference_specification(image: str) -> dict[str, Any]:
    """Return the ``InferenceSpecification`` of the algorithm.

    Args:
        image: URI of the container image that serves models.

    Example:
        >>> build_inference_specification("image:1")["SupportedResponseMIMETypes"]
        ['application/json', 'application/jsonlines']
    """
    return {
        "Containers": [{"Image": image}],
        "SupportedTransformInstanceTypes": list(TRANSFORM_INSTANCE_TYPES),
        "SupportedRealtimeInferenceInstanceTypes": list(REALTIME_INSTANCE_TYPES),
        "SupportedContentTypes": list(REQUEST_CONTENT_TYPES),
        "SupportedResponseMIMETypes": list(RESPONSE_CONTENT_TYPES),
    }
