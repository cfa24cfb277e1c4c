"""Train with an algorithm: describe a job in Python, launch it, follow it, come back to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sagemaker_sift.backends.errors import translate_errors
from sagemaker_sift.contract.hyperparameter import to_text
from sagemaker_sift.contract.hyperparameters import SPECS, Hyperparameters, read_values
from sagemaker_sift.contract.problem import ContractError, closest
from sagemaker_sift.contract.specification import ALGORITHM_NAME
from sagemaker_sift.exceptions import InvalidRequestError
from sagemaker_sift.inputs import read_channel
from sagemaker_sift.requests.argument_name import name_arguments
from sagemaker_sift.requests.training_job import (
    TrainingJobDescription,
    build_job_name,
    build_training_job_request,
)
from sagemaker_sift.requests.validation import check_training_job
from sagemaker_sift.results.metrics import TrainingJobAnalytics
from sagemaker_sift.results.summary import TrainingSummary, summarize
from sagemaker_sift.results.training_job import TrainingJob
from sagemaker_sift.session import JobSession

_MAX_RUN_S = 24 * 60 * 60
_KEYWORDS = (
    "checkpoint_s3_uri",
    "checkpoint_local_path",
    "environment",
    "enable_network_isolation",
)


class AlgorithmEstimator:
    """Trains with an Algorithm resource.

    Argument names, order and defaults are those of ``AlgorithmEstimator`` in the SageMaker SDK
    v2; ``instance_count`` left out means 1.

    Args:
        algorithm_arn: Name or ARN of the algorithm. The bundled one is
            ``"sift-image-classification"``.
        role: IAM role of the job; a local session needs none.
        instance_count: Number of instances.
        instance_type: Such as ``"ml.g5.xlarge"``.
        volume_size: Of the storage volume, GB.
        volume_kms_key: KMS key of the storage volume.
        max_run: Longest run, seconds.
        input_mode: ``File``, ``FastFile`` or ``Pipe``.
        output_path: URI under which artifacts go; the session's own by default.
        output_kms_key: KMS key of the artifacts.
        base_job_name: What generated job names begin with; the algorithm's name by default.
        sagemaker_session: Where jobs run, such as ``LocalSession()``.
        hyperparameters: By name; more by :meth:`set_hyperparameters`.
        tags: ``[{"Key": ..., "Value": ...}]``.
        subnets: Of the VPC.
        security_group_ids: Of the VPC.
        model_uri: URI of a model to go on from, given as the channel ``model_channel_name``.
        model_channel_name: Name of that channel.
        metric_definitions: ``[{"Name": ..., "Regex": ...}]``; the algorithm's own by default.
        encrypt_inter_container_traffic: Encrypt what instances say to each other.
        use_spot_instances: Train on spot capacity.
        max_wait: Longest wait for spot capacity plus run, seconds.
        **more: ``checkpoint_s3_uri``, ``checkpoint_local_path``, ``environment`` and
            ``enable_network_isolation``, as in the SDK's other estimators.

    Raises:
        TypeError: If ``sagemaker_session`` is missing or an argument is unknown.
        NotFoundError: If there is no such algorithm.
        InvalidRequestError: If ``hyperparameters`` break a rule.

    Example:
        >>> import tempfile
        >>> from sagemaker_sift import LocalSession
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     estimator = AlgorithmEstimator("sift-image-classification",
        ...         instance_type="ml.m5.large", sagemaker_session=LocalSession(folder))
        >>> estimator.set_hyperparameters(num_classes=10, num_training_samples=1437, beta_value=1)
        >>> estimator.hyperparameters()["beta_value"]
        '1.0'
    """

    def __init__(
        self,
        algorithm_arn: str,
        role: str | None = None,
        instance_count: int | None = None,
        instance_type: str | None = None,
        volume_size: int = 30,
        volume_kms_key: str | None = None,
        max_run: int = _MAX_RUN_S,
        input_mode: str = "File",
        output_path: str | None = None,
        output_kms_key: str | None = None,
        base_job_name: str | None = None,
        sagemaker_session: JobSession | None = None,
        hyperparameters: Mapping[str, Any] | None = None,
        tags: Sequence[Mapping[str, str]] | None = None,
        subnets: Sequence[str] | None = None,
        security_group_ids: Sequence[str] | None = None,
        model_uri: str | None = None,
        model_channel_name: str = "model",
        metric_definitions: Sequence[Mapping[str, str]] | None = None,
        encrypt_inter_container_traffic: bool = False,
        use_spot_instances: bool = False,
        max_wait: int | None = None,
        **more: Any,
    ) -> None:
        for name in more:
            if name not in _KEYWORDS:
                hint = closest(name, [*_KEYWORDS, *AlgorithmEstimator.__init__.__annotations__])
                raise TypeError(f"{name!r} is not an argument of AlgorithmEstimator.{hint}")
        if sagemaker_session is None:
            raise TypeError(
                "`sagemaker_session` is missing. Say where jobs run, such as LocalSession()."
            )
        self.algorithm_arn = algorithm_arn
        self.sagemaker_session = sagemaker_session
        self.role = role
        self.base_job_name = base_job_name
        self.model_uri = model_uri
        self.model_channel_name = model_channel_name
        self.output_path = output_path
        self.latest_training_job: TrainingJob | None = None
        with translate_errors():
            self.algorithm_spec: dict[str, Any] = (
                sagemaker_session.sagemaker_client.describe_algorithm(AlgorithmName=algorithm_arn)
            )
        self._settings: dict[str, Any] = {
            "instance_type": instance_type,
            "instance_count": 1 if instance_count is None else instance_count,
            "volume_size": volume_size,
            "volume_kms_key": volume_kms_key,
            "max_run": max_run,
            "input_mode": input_mode,
            "output_kms_key": output_kms_key,
            "tags": tuple(tags or ()),
            "subnets": subnets,
            "security_group_ids": security_group_ids,
            "metric_definitions": metric_definitions,
            "encrypt_inter_container_traffic": encrypt_inter_container_traffic,
            "use_spot_instances": use_spot_instances,
            "max_wait": max_wait,
            **more,
        }
        self._hyperparameters: dict[str, Any] = {}
        self.set_hyperparameters(**(hyperparameters or {}))

    def set_hyperparameters(self, **hyperparameters: Any) -> None:
        """Set hyperparameters; those set before stay.

        Raises:
            InvalidRequestError: With every unknown name, wrong type and value out of range.
        """
        _, problems = read_values(hyperparameters)
        if problems:
            raise InvalidRequestError(problems)
        self._hyperparameters |= hyperparameters

    def hyperparameters(self) -> dict[str, str]:
        """Return every hyperparameter in force, defaults included, as SageMaker carries them.

        Raises:
            InvalidRequestError: If a required one is missing, or some do not go together.
        """
        try:
            return Hyperparameters(**self._hyperparameters).to_strings()
        except ContractError as error:
            raise InvalidRequestError(error.problems) from error

    def request(self, inputs: Any = None, job_name: str | None = None) -> dict[str, Any]:
        """Return the checked CreateTrainingJob request that :meth:`fit` would send.

        Args:
            inputs: As in :meth:`fit`.
            job_name: As in :meth:`fit`.

        Raises:
            InvalidRequestError: With everything that is wrong.
        """
        session = self.sagemaker_session
        request = build_training_job_request(
            TrainingJobDescription(
                job_name=job_name or self._build_job_name(),
                algorithm_name=self.algorithm_arn,
                role=self.role or session.default_role(),
                output_path=self.output_path or session.default_output_path(),
                hyperparameters=self._hyperparameter_strings(),
                channels=self._read_channels(inputs),
                **self._settings,
            )
        )
        try:
            check_training_job(
                request,
                self.algorithm_spec["TrainingSpecification"],
                allow_file_uris=session.allows_file_uris,
                further=session.find_storage_problems(request),
            )
        except InvalidRequestError as error:
            raise InvalidRequestError(name_arguments(error.problems, request)) from None
        return request

    def fit(
        self,
        inputs: Any = None,
        wait: bool = True,
        logs: bool | str | None = True,
        job_name: str | None = None,
    ) -> None:
        """Launch a training job and, unless told otherwise, follow it to its end.

        Args:
            inputs: A mapping of channel name to URI, path or ``TrainingInput``. A single one
                stands for the channel ``train``.
            wait: Whether to wait for the end.
            logs: While waiting, ``True`` shows progress, ``"All"`` the whole log, ``False``
                nothing.
            job_name: Name of the job; made from ``base_job_name`` and the time by default.

        Raises:
            InvalidRequestError: With everything that is wrong; nothing was launched.
            ConflictError: If the name is taken.
            JobFailedError: If the job failed while waiting.
            JobStoppedError: If it was stopped while waiting.
        """
        request = self.request(inputs, job_name)
        with translate_errors():
            self.sagemaker_session.sagemaker_client.create_training_job(**request)
        self.latest_training_job = TrainingJob(request["TrainingJobName"], self.sagemaker_session)
        if wait:
            self.latest_training_job.wait(logs)

    @classmethod
    def attach(
        cls,
        training_job_name: str,
        sagemaker_session: JobSession,
        model_channel_name: str = "model",
    ) -> AlgorithmEstimator:
        """Return an estimator for a job that was launched before, by whatever process.

        Raises:
            NotFoundError: If there is no such job.
        """
        job = TrainingJob(training_job_name, sagemaker_session)
        description = job.describe()
        resources = description["ResourceConfig"]
        vpc = description.get("VpcConfig", {})
        stopping = description["StoppingCondition"]
        checkpoints = description.get("CheckpointConfig", {})
        estimator = cls(
            description["AlgorithmSpecification"]["AlgorithmName"],
            role=description["RoleArn"],
            instance_count=resources["InstanceCount"],
            instance_type=resources["InstanceType"],
            volume_size=resources["VolumeSizeInGB"],
            volume_kms_key=resources.get("VolumeKmsKeyId"),
            max_run=stopping["MaxRuntimeInSeconds"],
            max_wait=stopping.get("MaxWaitTimeInSeconds"),
            input_mode=description["AlgorithmSpecification"]["TrainingInputMode"],
            output_path=description["OutputDataConfig"]["S3OutputPath"],
            output_kms_key=description["OutputDataConfig"].get("KmsKeyId"),
            sagemaker_session=sagemaker_session,
            hyperparameters=description.get("HyperParameters"),
            subnets=vpc.get("Subnets"),
            security_group_ids=vpc.get("SecurityGroupIds"),
            model_channel_name=model_channel_name,
            metric_definitions=description["AlgorithmSpecification"].get("MetricDefinitions"),
            encrypt_inter_container_traffic=description.get(
                "EnableInterContainerTrafficEncryption", False
            ),
            use_spot_instances=description.get("EnableManagedSpotTraining", False),
            enable_network_isolation=description.get("EnableNetworkIsolation", False),
            environment=description.get("Environment"),
            checkpoint_s3_uri=checkpoints.get("S3Uri"),
            checkpoint_local_path=checkpoints.get("LocalPath"),
        )
        estimator.latest_training_job = job
        return estimator

    @property
    def model_data(self) -> str:
        """URI of the ``model.tar.gz`` of the latest job.

        Raises:
            ArtifactError: If the job has left no model, or none yet.
            RuntimeError: If nothing was launched yet.
        """
        return self._job().model_data

    @property
    def training_job_analytics(self) -> TrainingJobAnalytics:
        """The metrics of the latest job.

        Raises:
            RuntimeError: If nothing was launched yet.
        """
        return self._job().analytics

    def summary(self) -> TrainingSummary:
        """Return what the latest job achieved; printing it shows a table.

        Raises:
            RuntimeError: If nothing was launched yet.
        """
        return summarize(self._job())

    def _job(self) -> TrainingJob:
        if self.latest_training_job is None:
            raise RuntimeError("No job was launched yet. Call fit() or attach() first.")
        return self.latest_training_job

    def _hyperparameter_strings(self) -> dict[str, str]:
        """Return what goes into the request; it need not be complete, the request is checked."""
        try:
            return self.hyperparameters()
        except InvalidRequestError:
            values, _ = read_values(self._hyperparameters)
            return {name: to_text(value, SPECS[name]) for name, value in values.items()}

    def _build_job_name(self) -> str:
        base = self.base_job_name or self.algorithm_arn.rsplit("/", 1)[-1] or ALGORITHM_NAME
        return build_job_name(base, datetime.now(tz=UTC))

    def _read_channels(self, inputs: Any) -> dict[str, dict[str, Any]]:
        if inputs is None:
            inputs = {}
        elif not isinstance(inputs, Mapping):
            inputs = {"train": inputs}
        given = dict(inputs)
        if self.model_uri is not None:
            given[self.model_channel_name] = self.model_uri
        channels = {str(name): read_channel(value) for name, value in given.items()}
        for channel in channels.values():
            source = channel["DataSource"].get("S3DataSource")
            if source is not None:
                source = source | {"S3Uri": self.sagemaker_session.to_input_uri(source["S3Uri"])}
                channel["DataSource"] = channel["DataSource"] | {"S3DataSource": source}
        return channels
