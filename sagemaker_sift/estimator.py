"""Train with an algorithm: describe a job in Python, launch it, follow it, come back to it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sagemaker_sift.algorithm import Algorithm
from sagemaker_sift.backends.errors import translate_errors
from sagemaker_sift.backends.launch import launch
from sagemaker_sift.contract.problem import closest
from sagemaker_sift.defaults import Defaults
from sagemaker_sift.estimator_arguments import JobArguments, read_description, read_tags
from sagemaker_sift.exceptions import InvalidRequestError
from sagemaker_sift.inputs import (
    describe_channels,
    describe_model,
    find_single_channel,
    read_model,
)
from sagemaker_sift.requests.argument_name import name_arguments
from sagemaker_sift.requests.hyperparameter_rules import HyperparameterRules
from sagemaker_sift.requests.training_job import build_job_name, build_training_job_request
from sagemaker_sift.requests.validation import check_training_job
from sagemaker_sift.results.metrics import TrainingJobAnalytics
from sagemaker_sift.results.summary import TrainingSummary, summarize
from sagemaker_sift.results.training_job import TrainingJob
from sagemaker_sift.session import JobSession, adopt_session

_MAX_RUN_S = 24 * 60 * 60
_ARGUMENTS = frozenset(JobArguments.__annotations__)


class AlgorithmEstimator(JobArguments):
    """Trains with an Algorithm resource.

    Argument names, order and defaults are those of ``AlgorithmEstimator`` in the SageMaker SDK
    v2; ``instance_count`` left out means 1. What differs is listed in ``docs/differences.md``.
    Arguments left out come from the session's config files where those give them. Every argument
    is an attribute of the same name and may be changed before a launch.

    Args:
        algorithm_arn: Name or ARN of the algorithm, or an :class:`Algorithm`, which needs no call.
            The bundled one is ``"sift-image-classification"`` in a local session.
        role: IAM role of the job, by name or ARN; a local session needs none.
        instance_count: Number of instances.
        instance_type: Such as ``"ml.g5.xlarge"``.
        volume_size: Of the storage volume, GB.
        volume_kms_key: KMS key of the storage volume.
        max_run: Longest run, seconds.
        input_mode: ``File``, ``FastFile`` or ``Pipe``.
        output_path: URI under which artifacts go; the session's own by default.
        output_kms_key: KMS key of the artifacts.
        base_job_name: What generated job names begin with; the algorithm's name by default.
        sagemaker_session: Where jobs run, such as ``LocalSession()``; the SageMaker SDK's
            sessions are taken too. By default a new :class:`Session`, on AWS.
        hyperparameters: By name; more by :meth:`set_hyperparameters`.
        tags: ``[{"Key": ..., "Value": ...}]``, or a mapping of key to value.
        subnets: Of the VPC.
        security_group_ids: Of the VPC.
        model_uri: Model to go on from, given as the channel ``model_channel_name``: a URI, or a
            ``TrainingInput`` to say more.
        model_channel_name: Name of that channel.
        metric_definitions: ``[{"Name": ..., "Regex": ...}]``; the algorithm's own by default.
        encrypt_inter_container_traffic: Encrypt what instances say to each other.
        use_spot_instances: Train on spot capacity.
        max_wait: Longest wait for spot capacity plus run, seconds.
        checkpoint_s3_uri: Where checkpoints are kept while the job runs.
        checkpoint_local_path: Where the container finds them.
        environment: Environment variables of the container.
        enable_network_isolation: No network for the container; always on for algorithms of AWS
            Marketplace.
        max_pending: Longest wait for the capacity of a training plan, seconds.
        max_retry_attempts: Tries after an internal error of the service, 1 to 30.
        instance_groups: Of a heterogeneous cluster, instead of type and count.
        keep_alive_period_in_seconds: Keep the machines for the next job, 0 to 21,600 s.
        training_plan: ARN of reserved capacity.
        disable_output_compression: Leave artifacts unpacked.
        **unknown: Anything else is refused by name.

    Raises:
        TypeError: If an argument is unknown.
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
        algorithm_arn: str | Algorithm,
        role: str | None = None,
        instance_count: int | None = None,
        instance_type: str | None = None,
        volume_size: int | None = 30,
        volume_kms_key: str | None = None,
        max_run: int | None = _MAX_RUN_S,
        input_mode: str = "File",
        output_path: str | None = None,
        output_kms_key: str | None = None,
        base_job_name: str | None = None,
        sagemaker_session: Any = None,
        hyperparameters: Mapping[str, Any] | None = None,
        tags: Any = None,
        subnets: Sequence[str] | None = None,
        security_group_ids: Sequence[str] | None = None,
        model_uri: Any = None,
        model_channel_name: str = "model",
        metric_definitions: Sequence[Mapping[str, str]] | None = None,
        encrypt_inter_container_traffic: bool | None = None,
        use_spot_instances: bool = False,
        max_wait: int | None = None,
        *,
        checkpoint_s3_uri: str | None = None,
        checkpoint_local_path: str | None = None,
        environment: Mapping[str, str] | None = None,
        enable_network_isolation: bool | None = None,
        max_pending: int | None = None,
        max_retry_attempts: int | None = None,
        instance_groups: Sequence[Any] | None = None,
        keep_alive_period_in_seconds: int | None = None,
        training_plan: str | None = None,
        disable_output_compression: bool | None = None,
        **unknown: Any,
    ) -> None:
        given = {name: value for name, value in locals().items() if name in _ARGUMENTS}
        for name in unknown:
            hint = closest(name, AlgorithmEstimator.__init__.__annotations__)
            raise TypeError(f"{name!r} is not an argument of AlgorithmEstimator.{hint}")
        self.sagemaker_session: JobSession = adopt_session(sagemaker_session)
        if isinstance(algorithm_arn, Algorithm):
            self.algorithm, algorithm_arn = algorithm_arn, algorithm_arn.arn or algorithm_arn.name
        else:
            self.algorithm = Algorithm.find(algorithm_arn, self.sagemaker_session)
        self.algorithm_arn = algorithm_arn
        self.base_job_name = base_job_name
        self.model_uri = model_uri
        self.model_channel_name = model_channel_name
        self.latest_training_job: TrainingJob | None = None
        self.set_arguments(given | {"tags": read_tags(tags)}, self.sagemaker_session.defaults)
        self._rules = HyperparameterRules(self.algorithm.training_specification)
        self._hyperparameters: dict[str, Any] = {}
        self.set_hyperparameters(**(hyperparameters or {}))

    @property
    def algorithm_spec(self) -> dict[str, Any]:
        """The algorithm as DescribeAlgorithm gives it; the SDK v2's name."""
        return self.algorithm.to_description()

    def set_hyperparameters(self, **hyperparameters: Any) -> None:
        """Set hyperparameters; those set before stay.

        Raises:
            InvalidRequestError: With every unknown name, wrong type and value out of range.
        """
        problems = self._rules.find_problems(hyperparameters)
        if problems:
            raise InvalidRequestError(problems)
        self._hyperparameters = self._hyperparameters | hyperparameters

    def hyperparameters(self) -> dict[str, str]:
        """Return every hyperparameter in force, defaults included, as SageMaker carries them.

        Raises:
            InvalidRequestError: If a required one is missing, or some do not go together.
        """
        texts = self._rules.complete(self._hyperparameters)
        problems = self._rules.find_conflicts(texts)
        if problems:
            raise InvalidRequestError(problems)
        return texts

    def request(self, inputs: Any = None, job_name: str | None = None) -> dict[str, Any]:
        """Return the checked CreateTrainingJob request that :meth:`fit` would send.

        Args:
            inputs: As in :meth:`fit`.
            job_name: As in :meth:`fit`.

        Raises:
            InvalidRequestError: With everything that is wrong.
        """
        session = self.sagemaker_session
        request = self.unchecked_request(inputs, job_name)
        try:
            check_training_job(
                request,
                self.algorithm.rules(),
                allow_file_uris=session.allows_file_uris,
                further=session.find_storage_problems(request),
            )
        except InvalidRequestError as error:
            raise InvalidRequestError(name_arguments(error.problems, request)) from None
        return request

    def validate(self, inputs: Any = None, job_name: str | None = None) -> None:
        """Check the job as :meth:`fit` would, and send nothing.

        Raises:
            InvalidRequestError: With everything that is wrong.
        """
        self.request(inputs, job_name)

    def unchecked_request(
        self,
        inputs: Any = None,
        job_name: str | None = None,
        *,
        tuned: Collection[str] = (),
    ) -> dict[str, Any]:
        """Return the CreateTrainingJob request as it is, right or wrong.

        Args:
            inputs: As in :meth:`fit`.
            job_name: As in :meth:`fit`.
            tuned: Hyperparameters to leave out, because a tuning job sets them.
        """
        session = self.sagemaker_session
        static = {k: value for k, value in self._hyperparameters.items() if k not in tuned}
        texts = self._rules.complete(static)
        isolation = self.enable_network_isolation
        return build_training_job_request(
            self.describe_job(
                job_name=job_name or self._build_job_name(),
                algorithm_name=self.algorithm_arn,
                role=self._find_role(),
                output_path=self.output_path or session.default_output_path(),
                hyperparameters={k: text for k, text in texts.items() if k not in tuned},
                channels=describe_channels(
                    inputs,
                    find_single_channel(self.algorithm.training_specification),
                    {}
                    if self.model_uri is None
                    else {self.model_channel_name: self._describe_model()},
                    session.to_input_uri,
                ),
                enable_network_isolation=bool(self.algorithm.product_id)
                if isolation is None
                else isolation,
            )
        )

    def fit(
        self,
        inputs: Any = None,
        wait: bool = True,
        logs: bool | str | None = True,
        job_name: str | None = None,
    ) -> None:
        """Launch a training job and, unless told otherwise, follow it to its end.

        Args:
            inputs: A mapping of channel name to URI, path, ``TrainingInput`` or
                ``FileSystemInput``. A single one stands for the channel that the algorithm
                requires.
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
        self.sagemaker_session.prepare_output(request["OutputDataConfig"]["S3OutputPath"])
        job = TrainingJob(request["TrainingJobName"], self.sagemaker_session)
        with translate_errors():
            create = self.sagemaker_session.sagemaker_client.create_training_job
            launch(create, job.describe, request, ("RoleArn", "HyperParameters"))
        self.latest_training_job = job
        if wait:
            job.wait(logs)

    @classmethod
    def attach(
        cls,
        training_job_name: str,
        sagemaker_session: Any = None,
        model_channel_name: str = "model",
    ) -> AlgorithmEstimator:
        """Return an estimator for a job that was launched before, by whatever process.

        Raises:
            NotFoundError: If there is no such job.
            ValueError: If the job ran an image of its own rather than an Algorithm resource.
        """
        job = TrainingJob(training_job_name, adopt_session(sagemaker_session))
        description = job.describe()
        estimator = cls.from_description(description, job.session, model_channel_name)
        estimator.tags = job.tags(description)
        estimator.latest_training_job = job
        return estimator

    @classmethod
    def from_description(
        cls,
        description: Mapping[str, Any],
        sagemaker_session: Any = None,
        model_channel_name: str = "model",
    ) -> AlgorithmEstimator:
        """Return an estimator that would launch the same job again.

        Values of config files are not put in place of what the job left out.

        Args:
            description: A CreateTrainingJob request or a DescribeTrainingJob response.
            sagemaker_session: Where it is to run.
            model_channel_name: Name of the channel of a model to go on from.

        Raises:
            ValueError: If the job ran an image of its own rather than an Algorithm resource.
        """
        algorithm = description["AlgorithmSpecification"].get("AlgorithmName")
        if not algorithm:
            raise ValueError(
                f"The job {description.get('TrainingJobName')!r} ran a container image, not an "
                "Algorithm resource. Attach to jobs of an algorithm."
            )
        arguments = read_description(description)
        hyperparameters = arguments.pop("hyperparameters")
        session = adopt_session(sagemaker_session)
        estimator = cls(
            Algorithm.find_or_describe(algorithm, session),
            sagemaker_session=session,
            model_channel_name=model_channel_name,
        )
        estimator.algorithm_arn = algorithm
        estimator.set_arguments({"tags": None} | arguments, Defaults())
        own_metrics = estimator.algorithm.training_specification.get("MetricDefinitions")
        if estimator.metric_definitions == own_metrics:
            estimator.metric_definitions = None
        estimator._hyperparameters = hyperparameters
        estimator.model_uri = read_model(
            description, model_channel_name, estimator.algorithm.training_specification
        )
        return estimator

    @property
    def model_data(self) -> str:
        """URI of the ``model.tar.gz`` of the latest job.

        Raises:
            ArtifactError: If the job has left no model, or none yet.
            RuntimeError: If nothing was launched yet.
        """
        return self.job().model_data

    @property
    def training_job_analytics(self) -> TrainingJobAnalytics:
        """The metrics of the latest job.

        Raises:
            RuntimeError: If nothing was launched yet.
        """
        return self.job().analytics

    def summary(self) -> TrainingSummary:
        """Return what the latest job achieved; printing it shows a table.

        Raises:
            RuntimeError: If nothing was launched yet.
        """
        return summarize(self.job())

    def job(self) -> TrainingJob:
        """Return the latest job.

        Raises:
            RuntimeError: If nothing was launched yet.
        """
        if self.latest_training_job is None:
            raise RuntimeError("No job was launched yet. Call fit() or attach() first.")
        return self.latest_training_job

    def _find_role(self) -> str:
        if self.role is None:
            return self.sagemaker_session.default_role()
        is_name = isinstance(self.role, str) and self.role  # else it is refused with the request
        return self.sagemaker_session.expand_role(self.role) if is_name else self.role

    def _build_job_name(self) -> str:
        base = self.base_job_name or self.algorithm_arn.rsplit("/", 1)[-1]
        return build_job_name(base, datetime.now(tz=UTC))

    def _describe_model(self) -> dict[str, Any]:
        return describe_model(
            self.model_uri, self.model_channel_name, self.algorithm.training_specification
        )
