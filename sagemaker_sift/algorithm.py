"""An Algorithm resource: described in Python or JSON, checked, registered and found again."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any

from sagemaker_sift.algorithm_catalog import (
    AlgorithmSummary,
    describe_algorithm,
    find_client,
    find_reasons,
    list_algorithms,
)
from sagemaker_sift.algorithm_file import read_algorithm, write_json
from sagemaker_sift.backends.errors import translate_errors
from sagemaker_sift.backends.whole_file import save_text
from sagemaker_sift.contract.inference import build_inference_specification
from sagemaker_sift.contract.problem import Problem
from sagemaker_sift.contract.specification import ALGORITHM_NAME, build_training_specification
from sagemaker_sift.exceptions import (
    AccessDeniedError,
    AlgorithmFailedError,
    InvalidRequestError,
    NotFoundError,
)
from sagemaker_sift.requests.algorithm import (
    AlgorithmDescription,
    build_algorithm_request,
    find_algorithm_problems,
)

BUNDLED_DESCRIPTION = (
    "Image classification with sifting: ResNet training in which samples of low loss are dropped "
    "before the forward and backward pass."
)
"""What the bundled algorithm says of itself."""

_POLL_S = 5.0


class Algorithm:
    """An algorithm as SageMaker knows it: an image with everything that it can be told.

    Args:
        name: 1 to 63 letters, digits and hyphens; unique in an account and region.
        training_specification: The API's ``TrainingSpecification``.
        description: For people, at most 1,024 characters.
        inference_specification: The API's ``InferenceSpecification``.
        validation_specification: The API's ``ValidationSpecification``;
            :func:`~sagemaker_sift.requests.validation_profile.build_validation_specification`
            builds one.
        certify_for_marketplace: Whether it is to be listed in AWS Marketplace.
        tags: ``[{"Key": ..., "Value": ...}]``.
        arn: Of an algorithm that is registered.
        product_id: Of an algorithm from AWS Marketplace.
        sagemaker_session: Anything with a ``sagemaker_client``.

    Example:
        >>> algorithm = Algorithm.from_contract("123456789012.dkr.ecr.eu-west-1.amazonaws.com/a:1")
        >>> algorithm.problems()
        ()
        >>> algorithm.to_request()["AlgorithmName"]
        'sift-image-classification'
    """

    def __init__(
        self,
        name: str,
        training_specification: Mapping[str, Any],
        *,
        description: str | None = None,
        inference_specification: Mapping[str, Any] | None = None,
        validation_specification: Mapping[str, Any] | None = None,
        certify_for_marketplace: bool = False,
        tags: Sequence[Mapping[str, str]] = (),
        arn: str | None = None,
        product_id: str | None = None,
        sagemaker_session: Any = None,
    ) -> None:
        self.name = name
        self.training_specification = deepcopy(training_specification)
        self.description = description
        self.inference_specification = deepcopy(inference_specification)
        self.validation_specification = deepcopy(validation_specification)
        self.certify_for_marketplace = certify_for_marketplace
        self.tags = deepcopy(tags)
        self.arn = arn
        self.product_id = product_id
        self.sagemaker_session = sagemaker_session
        self._found: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"Algorithm({self.arn or self.name!r})"

    @classmethod
    def from_contract(
        cls,
        training_image: str,
        *,
        name: str = ALGORITHM_NAME,
        inference_image: str | None = None,
        description: str | None = BUNDLED_DESCRIPTION,
        **more: Any,
    ) -> Algorithm:
        """Return the bundled algorithm, in an image of yours.

        Args:
            training_image: URI of the image that trains.
            name: To register it under.
            inference_image: URI of an image that serves its models. Serving is not part of this
                version; :mod:`sagemaker_sift.contract.inference` says what an image must do.
            description: For people.
            **more: Further arguments of :class:`Algorithm`.
        """
        inference = build_inference_specification(inference_image) if inference_image else None
        specification = build_training_specification(training_image)
        return cls(
            name,
            specification,
            description=description,
            inference_specification=inference,
            **more,
        )

    @classmethod
    def from_json(
        cls,
        source: str | os.PathLike[str],
        *,
        name: str | None = None,
        sagemaker_session: Any = None,
    ) -> Algorithm:
        """Read an algorithm from JSON.

        Args:
            source: Path of a file, or the JSON text itself: a CreateAlgorithm request, a
                DescribeAlgorithm response, or a ``TrainingSpecification`` by itself.
            name: Used in place of the one in the JSON; needed if there is none.
            sagemaker_session: Anything with a ``sagemaker_client``.

        Raises:
            InvalidRequestError: If it is not JSON (with the line), or not one of the three.
            OSError: If the file cannot be read.
        """
        description = read_algorithm(source, name)
        return cls.from_description(description, sagemaker_session)

    @classmethod
    def from_description(
        cls, description: Mapping[str, Any], sagemaker_session: Any = None
    ) -> Algorithm:
        """Return the algorithm of a CreateAlgorithm request or a DescribeAlgorithm response.

        Args:
            description: With at least ``AlgorithmName`` and ``TrainingSpecification``.
            sagemaker_session: Anything with a ``sagemaker_client``.

        Raises:
            InvalidRequestError: If one of the two is missing.
        """
        needed = ("AlgorithmName", "TrainingSpecification")
        missing = [Problem(key, "is missing.") for key in needed if key not in description]
        if missing:
            raise InvalidRequestError(missing)
        algorithm = cls(
            description["AlgorithmName"],
            description["TrainingSpecification"],
            description=description.get("AlgorithmDescription"),
            inference_specification=description.get("InferenceSpecification"),
            validation_specification=description.get("ValidationSpecification"),
            certify_for_marketplace=description.get("CertifyForMarketplace", False),
            tags=description.get("Tags", ()),
            arn=description.get("AlgorithmArn"),
            product_id=description.get("ProductId"),
            sagemaker_session=sagemaker_session,
        )
        algorithm._found = deepcopy(dict(description))
        return algorithm

    @classmethod
    def find(cls, name_or_arn: str, sagemaker_session: Any) -> Algorithm:
        """Return an algorithm that is registered, or subscribed to in AWS Marketplace.

        Args:
            name_or_arn: Its name in the session's account and region, or its ARN.
            sagemaker_session: Anything with a ``sagemaker_client``.

        Raises:
            InvalidRequestError: If the ARN is none, or of another region than the session.
            NotFoundError: If there is no such algorithm.
            BackendError: If SageMaker refuses the call.
        """
        description = describe_algorithm(name_or_arn, sagemaker_session)
        return cls.from_description(description, sagemaker_session)

    @classmethod
    def find_or_describe(cls, name_or_arn: str, sagemaker_session: Any) -> Algorithm:
        """Return the algorithm of an earlier job; one that cannot be described, by its name only.

        What ran with it can be read and fetched still; nothing is known of its rules.

        Args:
            name_or_arn: Of the algorithm.
            sagemaker_session: Where the job ran.
        """
        try:
            return cls.find(name_or_arn, sagemaker_session)
        except (NotFoundError, AccessDeniedError) as error:
            warnings.warn(f"Jobs cannot be checked against their algorithm: {error}", stacklevel=4)
            return cls(name_or_arn.rsplit("/", 1)[-1], {})

    def to_request(self) -> dict[str, Any]:
        """Return the parameters of ``create_algorithm``, unchecked."""
        return build_algorithm_request(
            AlgorithmDescription(
                name=self.name,
                training_specification=self.training_specification,
                description=self.description,
                inference_specification=self.inference_specification,
                validation_specification=self.validation_specification,
                certify_for_marketplace=self.certify_for_marketplace,
                tags=self.tags,
            )
        )

    def to_description(self) -> dict[str, Any]:
        """Return the algorithm in the form of DescribeAlgorithm, without asking SageMaker.

        Of one that was found it is what SageMaker said then, with what was changed since.
        """
        known = {**self._found, **self.to_request()}
        known |= {"AlgorithmArn": self.arn, "ProductId": self.product_id}
        return {
            name: deepcopy(value)
            for name, value in known.items()
            if value is not None and name != "Tags"
        }

    def rules(self) -> dict[str, Any]:
        """Return what jobs are held to, without copying it: read it, do not change it.

        Returns:
            ``TrainingSpecification`` and ``ProductId`` of the DescribeAlgorithm response.
        """
        return {"TrainingSpecification": self.training_specification, "ProductId": self.product_id}

    def hyperparameter_names(self) -> list[str]:
        """Return the names of its hyperparameters, in the order of the specification."""
        declared = self.training_specification.get("SupportedHyperParameters") or []
        return [str(entry.get("Name")) for entry in declared]

    def to_json(self) -> str:
        """Return the request as JSON, as ``aws sagemaker create-algorithm`` takes it."""
        return write_json(self.to_request())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the request as a JSON file; it is there whole or not at all.

        Raises:
            OSError: If it cannot be written; a file that was there before is left as it was.
        """
        save_text(path, self.to_json())

    def problems(self) -> tuple[Problem, ...]:
        """Return every rule that the algorithm breaks; none if it can be registered."""
        return tuple(find_algorithm_problems(self.to_request()))

    def validate(self) -> None:
        """Check the algorithm; nothing is sent.

        Raises:
            InvalidRequestError: With everything that is wrong.
        """
        problems = self.problems()
        if problems:
            raise InvalidRequestError(problems)

    def register(
        self,
        sagemaker_session: Any = None,
        wait: bool = True,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Algorithm:
        """Create the Algorithm resource.

        Args:
            sagemaker_session: Anything with a ``sagemaker_client``; the algorithm's own by
                default.
            wait: Whether to wait until it can be used. With a validation specification SageMaker
                runs its jobs first, which may take hours.
            sleep: Called with seconds between two looks.

        Returns:
            The algorithm itself, which now has an ARN.

        Raises:
            InvalidRequestError: With everything that is wrong; nothing was sent.
            ConflictError: If the name is taken.
            AlgorithmFailedError: If a validation or a scan failed while waiting.
            BackendError: If SageMaker refuses the call.
        """
        self.sagemaker_session = sagemaker_session or self.sagemaker_session
        client = self._client("create_algorithm")
        self.validate()
        with translate_errors(f"algorithm {self.name!r}"):
            self.arn = client.create_algorithm(**self.to_request())["AlgorithmArn"]
        if wait:
            self.wait(sleep=sleep)
        return self

    def describe(self) -> dict[str, Any]:
        """Return the DescribeAlgorithm response.

        Raises:
            NotFoundError: If it is not registered.
        """
        return describe_algorithm(self.arn or self.name, self._session())

    def wait(self, *, sleep: Callable[[float], None] = time.sleep) -> None:
        """Wait until the algorithm is ready.

        Args:
            sleep: Called with seconds between two looks.

        Raises:
            AlgorithmFailedError: If it failed; with the reason of each validation and scan.
            NotFoundError: If it is not registered, or no longer.
        """
        poll_s = getattr(self._session(), "poll_s", _POLL_S)
        while True:
            description = self.describe()
            status = description["AlgorithmStatus"]
            if status == "Completed":
                return
            if status in {"Failed", "Deleting"}:
                reasons = find_reasons(description)
                if status == "Deleting":
                    reasons = ["it is being deleted", *reasons]
                raise AlgorithmFailedError(self.name, reasons)
            sleep(poll_s)

    def delete(self) -> None:
        """Delete the Algorithm resource. Jobs and models made with it stay.

        Raises:
            ConflictError: If it is in use.
            NotFoundError: If it is not registered.
        """
        client = self._client("delete_algorithm")
        with translate_errors(f"algorithm {self.name!r}"):
            client.delete_algorithm(AlgorithmName=self.name)

    @classmethod
    def list(
        cls,
        sagemaker_session: Any,
        name_contains: str | None = None,
        *,
        status: str | None = None,
    ) -> tuple[AlgorithmSummary, ...]:
        """Return the algorithms of the account in the session's region, newest first.

        Those subscribed to in AWS Marketplace are not among them.

        Args:
            sagemaker_session: Anything with a ``sagemaker_client``.
            name_contains: Only those whose name contains it.
            status: Only those in this state, such as ``Completed``.

        Raises:
            BackendError: If SageMaker refuses the call.
        """
        return list_algorithms(sagemaker_session, name_contains, status)

    def _session(self) -> Any:
        if self.sagemaker_session is None:
            raise TypeError("`sagemaker_session` is missing. Say where the algorithm is to be.")
        return self.sagemaker_session

    def _client(self, method: str) -> Any:
        return find_client(self._session(), method)
