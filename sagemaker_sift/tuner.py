"""Tune hyperparameters: describe a search in Python, launch it, follow it, go on from it.

Names, argument order and defaults are those of ``sagemaker.tuner`` in the SageMaker SDK v2. What
differs is listed in ``docs/differences.md``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sagemaker_sift.backends.errors import translate_errors
from sagemaker_sift.backends.launch import launch
from sagemaker_sift.contract.problem import Problem, closest
from sagemaker_sift.estimator import AlgorithmEstimator
from sagemaker_sift.exceptions import InvalidRequestError
from sagemaker_sift.limits import TuningLimits
from sagemaker_sift.parameter import CategoricalParameter, ContinuousParameter, IntegerParameter
from sagemaker_sift.resources import InstanceConfig
from sagemaker_sift.results.tuning_job import TuningJob
from sagemaker_sift.session import adopt_session
from sagemaker_sift.strategy import (
    HyperbandStrategyConfig,
    StrategyConfig,
    TuningJobCompletionCriteriaConfig,
)
from sagemaker_sift.tuning_description import read_arguments, read_definitions
from sagemaker_sift.tuning_outcome import TuningOutcome
from sagemaker_sift.tuning_search import TuningSearch, check_names
from sagemaker_sift.warm_start import WarmStartConfig, WarmStartTypes

__all__ = [
    "CategoricalParameter",
    "ContinuousParameter",
    "HyperbandStrategyConfig",
    "HyperparameterTuner",
    "InstanceConfig",
    "IntegerParameter",
    "StrategyConfig",
    "TuningJobCompletionCriteriaConfig",
    "TuningLimits",
    "WarmStartConfig",
    "WarmStartTypes",
    "create_identical_dataset_and_algorithm_tuner",
    "create_transfer_learning_tuner",
]


class HyperparameterTuner(TuningSearch, TuningOutcome):
    """Searches the best hyperparameters of an algorithm by launching training jobs.

    Args:
        estimator: The training job; an :class:`AlgorithmEstimator`, ours or the SDK v2's.
        objective_metric_name: Metric to optimize, such as ``validation:accuracy``.
        hyperparameter_ranges: By hyperparameter: :class:`ContinuousParameter`,
            :class:`IntegerParameter` or :class:`CategoricalParameter`. May be ``None`` with
            ``autotune``.
        metric_definitions: In place of the estimator's.
        strategy: ``Bayesian``, ``Random``, ``Grid`` or ``Hyperband``.
        objective_type: ``Maximize`` or ``Minimize``.
        max_jobs: Training jobs to launch at most. Left out, Grid launches one for each point,
            and the others launch 1 unless a time or a criterion ends the search.
        max_parallel_jobs: Training jobs at a time.
        max_runtime_in_seconds: Longest run of the tuning job, 120 to 15,768,000 s.
        tags: ``[{"Key": ..., "Value": ...}]`` or a mapping; the estimator's are added. Training
            jobs get them too.
        base_tuning_job_name: What generated names begin with; the algorithm's name by default.
        warm_start_config: Parents to start from.
        strategy_config: For Hyperband.
        completion_criteria_config: When to end before the limits.
        early_stopping_type: ``Auto`` stops training jobs that fall behind, ``Off`` does not.
        estimator_name: Names the estimator; needed only beside others, see :meth:`create`.
        random_seed: Makes the search repeatable; 0 or more.
        autotune: Let the service choose ranges for tunable hyperparameters without one.
        hyperparameters_to_keep_static: Those that autotune leaves alone.
        limits: What the job is held to before it is sent; :class:`TuningLimits` by default.
        **unknown: Anything else is refused by name.

    Raises:
        TypeError: If an argument is unknown, or one is no estimator, range or config.
        InvalidRequestError: If there is no range and no autotune.

    Example:
        >>> import tempfile
        >>> from sagemaker_sift import LocalSession
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     estimator = AlgorithmEstimator("sift-image-classification",
        ...         instance_type="ml.g5.xlarge", sagemaker_session=LocalSession(folder),
        ...         hyperparameters={"num_classes": 10, "num_training_samples": 1437})
        ...     tuner = HyperparameterTuner(estimator, "validation:accuracy",
        ...         {"beta_value": ContinuousParameter(0.1, 10, "Logarithmic")}, max_jobs=4)
        >>> tuner.hyperparameter_ranges()["ContinuousParameterRanges"][0]["Name"]
        'beta_value'
    """

    @classmethod
    def create(
        cls,
        estimator_dict: Mapping[str, Any],
        objective_metric_name_dict: Mapping[str, str],
        hyperparameter_ranges_dict: Mapping[str, Mapping[str, Any]],
        metric_definitions_dict: Mapping[str, Sequence[Mapping[str, str]]] | None = None,
        base_tuning_job_name: str | None = None,
        strategy: str = "Bayesian",
        strategy_config: Any = None,
        completion_criteria_config: Any = None,
        objective_type: str = "Maximize",
        max_jobs: int | None = None,
        max_parallel_jobs: int = 1,
        max_runtime_in_seconds: int | None = None,
        tags: Any = None,
        warm_start_config: Any = None,
        early_stopping_type: str = "Off",
        random_seed: int | None = None,
        autotune: bool = False,
        hyperparameters_to_keep_static_dict: Mapping[str, Sequence[str]] | None = None,
        *,
        limits: TuningLimits | None = None,
    ) -> HyperparameterTuner:
        """Return a tuner of several estimators, which share the limits of one tuning job.

        Args:
            estimator_dict: One to ten estimators by name.
            objective_metric_name_dict: By the same names.
            hyperparameter_ranges_dict: By the same names.
            metric_definitions_dict: By some of the names.
            base_tuning_job_name: As in the constructor, like all that follow.
            strategy: The strategy.
            strategy_config: For Hyperband.
            completion_criteria_config: When to end before the limits.
            objective_type: ``Maximize`` or ``Minimize``, for all.
            max_jobs: Training jobs of all estimators together.
            max_parallel_jobs: Training jobs at a time.
            max_runtime_in_seconds: Longest run of the tuning job.
            tags: Of the tuning job and its training jobs.
            warm_start_config: The service takes it with one estimator only.
            early_stopping_type: The service takes ``Auto`` with one estimator only.
            random_seed: Makes the search repeatable.
            autotune: Let the service choose ranges.
            hyperparameters_to_keep_static_dict: By some of the names.
            limits: What the job is held to before it is sent.

        Raises:
            InvalidRequestError: If the names do not agree.
        """
        names = sorted(estimator_dict)
        for argument, given in (
            ("objective_metric_name_dict", objective_metric_name_dict),
            ("hyperparameter_ranges_dict", hyperparameter_ranges_dict),
        ):
            check_names(argument, given, names, is_complete=True)
        metrics = check_names("metric_definitions_dict", metric_definitions_dict or {}, names)
        kept = check_names(
            "hyperparameters_to_keep_static_dict", hyperparameters_to_keep_static_dict or {}, names
        )
        if not names:
            message = "is empty. Give one to ten estimators by name."
            raise InvalidRequestError([Problem("estimator_dict", message)])
        tuner = cls(
            estimator_dict[names[0]],
            objective_metric_name_dict[names[0]],
            hyperparameter_ranges_dict[names[0]],
            metrics.get(names[0]),
            strategy=strategy,
            objective_type=objective_type,
            max_jobs=max_jobs,
            max_parallel_jobs=max_parallel_jobs,
            max_runtime_in_seconds=max_runtime_in_seconds,
            tags=tags,
            base_tuning_job_name=base_tuning_job_name,
            warm_start_config=warm_start_config,
            strategy_config=strategy_config,
            completion_criteria_config=completion_criteria_config,
            early_stopping_type=early_stopping_type,
            estimator_name=names[0],
            random_seed=random_seed,
            autotune=autotune,
            hyperparameters_to_keep_static=kept.get(names[0]),
            limits=limits,
        )
        for name in names[1:]:
            tuner.add_estimator(
                name,
                estimator_dict[name],
                objective_metric_name_dict[name],
                hyperparameter_ranges_dict[name],
                metrics.get(name),
                kept.get(name),
            )
        return tuner

    def fit(
        self,
        inputs: Any = None,
        job_name: str | None = None,
        include_cls_metadata: bool | Mapping[str, bool] = False,
        estimator_kwargs: Mapping[str, Any] | None = None,
        wait: bool = True,
        **unknown: Any,
    ) -> None:
        """Launch the tuning job and, unless told otherwise, follow it to its end.

        Args:
            inputs: Channels, as in :meth:`AlgorithmEstimator.fit`; by estimator name where the
                tuner has several.
            job_name: Name of the tuning job, at most 32 characters; made from
                ``base_tuning_job_name`` and the time by default.
            include_cls_metadata: Adds two hyperparameters that the SageMaker SDK once read. Few
                algorithms have them.
            estimator_kwargs: Must be empty: an AlgorithmEstimator takes no more arguments here.
            wait: Whether to wait for the end.
            **unknown: Anything else is refused by name.

        Raises:
            TypeError: If an argument is unknown.
            InvalidRequestError: With everything that is wrong; nothing was launched.
            ConflictError: If the name is taken.
            TuningJobFailedError: If the job failed while waiting.
            TuningJobStoppedError: If it was stopped while waiting.
        """
        for name in (*unknown, *(estimator_kwargs or {})):
            hint = closest(name, HyperparameterTuner.fit.__annotations__)
            raise TypeError(f"{name!r} is not an argument of HyperparameterTuner.fit.{hint}")
        request = self.request(inputs, job_name, include_cls_metadata)
        for definition in self.definitions.values():
            definition.prepare_output()
        job = TuningJob(request["HyperParameterTuningJobName"], self.sagemaker_session)
        with translate_errors():
            create = self.sagemaker_session.sagemaker_client.create_hyper_parameter_tuning_job
            launch(create, job.describe, request, ("HyperParameterTuningJobConfig",))
        self.latest_tuning_job = job
        if wait:
            job.wait()

    @classmethod
    def attach(
        cls,
        tuning_job_name: str,
        sagemaker_session: Any = None,
        job_details: Mapping[str, Any] | None = None,
        estimator_cls: type[AlgorithmEstimator] | None = None,
    ) -> HyperparameterTuner:
        """Return a tuner for a job that was launched before, with every setting it had.

        Args:
            tuning_job_name: The job.
            sagemaker_session: Where it runs.
            job_details: A DescribeHyperParameterTuningJob response, to spare the call.
            estimator_cls: What estimators are made with.

        Raises:
            NotFoundError: If there is no such job.
            ValueError: If it ran an image of its own rather than an Algorithm resource.
        """
        job = TuningJob(tuning_job_name, adopt_session(sagemaker_session))
        details = job.describe() if job_details is None else job_details
        definitions = read_definitions(
            details, tuning_job_name, job.session, estimator_cls or AlgorithmEstimator
        )
        first = definitions[0]
        tuner = cls(
            first.estimator,
            first.objective_metric_name,
            first.ranges,
            tags=job.tags(details) or None,
            **read_arguments(details, tuning_job_name),
        )
        tuner.definitions = {definition.name: definition for definition in definitions}
        tuner.latest_tuning_job = job
        return tuner

    def transfer_learning_tuner(
        self, additional_parents: Iterable[str] | None = None, estimator: Any = None
    ) -> HyperparameterTuner:
        """Return a tuner that starts from this one's job, on other data or another algorithm.

        Args:
            additional_parents: Further parents; this tuner's job is the first.
            estimator: In place of this tuner's.

        Raises:
            RuntimeError: If nothing was launched yet.
            ValueError: If this tuner has several estimators.
        """
        return self._go_on(WarmStartTypes.TRANSFER_LEARNING, additional_parents, estimator)

    def identical_dataset_and_algorithm_tuner(
        self, additional_parents: Iterable[str] | None = None
    ) -> HyperparameterTuner:
        """Return a tuner that starts from this one's job, on the same data and algorithm.

        Args:
            additional_parents: Further parents; this tuner's job is the first.

        Raises:
            RuntimeError: If nothing was launched yet.
            ValueError: If this tuner has several estimators.
        """
        return self._go_on(WarmStartTypes.IDENTICAL_DATA_AND_ALGORITHM, additional_parents, None)

    def _go_on(
        self, kind: WarmStartTypes, additional: Iterable[str] | None, estimator: Any
    ) -> HyperparameterTuner:
        if len(self.definitions) > 1:
            raise ValueError("A tuner of several estimators cannot be warm-started.")
        tuner = self.copy(estimator)
        further = WarmStartConfig(kind, additional).parents if additional else ()
        tuner.warm_start_config = WarmStartConfig(kind, [self.job().name, *further])
        tuner.latest_tuning_job = None
        return tuner

    def best_estimator(self, best_training_job: Any = None) -> AlgorithmEstimator:
        """Return the estimator of the best training job, attached to it.

        Args:
            best_training_job: Another training job: its name, or its summary from the API.

        Raises:
            LookupError: If none has reported the objective metric yet.
        """
        name = best_training_job or self.best_training_job()
        name = name["TrainingJobName"] if isinstance(name, Mapping) else name
        first = next(iter(self.definitions.values())).estimator
        return type(first).attach(str(name), self.sagemaker_session)


def create_identical_dataset_and_algorithm_tuner(
    parent: str,
    additional_parents: Iterable[str] | None = None,
    sagemaker_session: Any = None,
) -> HyperparameterTuner:
    """Return a tuner that starts from an earlier job, on the same data and algorithm.

    Args:
        parent: Name of the job whose settings are taken.
        additional_parents: Names of further parents.
        sagemaker_session: Where they ran.
    """
    tuner = HyperparameterTuner.attach(parent, sagemaker_session)
    return tuner.identical_dataset_and_algorithm_tuner(additional_parents)


def create_transfer_learning_tuner(
    parent: str,
    additional_parents: Iterable[str] | None = None,
    estimator: Any = None,
    sagemaker_session: Any = None,
) -> HyperparameterTuner:
    """Return a tuner that starts from an earlier job, on other data or another algorithm.

    Args:
        parent: Name of the job whose settings are taken.
        additional_parents: Names of further parents.
        estimator: In place of the earlier job's.
        sagemaker_session: Where they ran.
    """
    tuner = HyperparameterTuner.attach(parent, sagemaker_session)
    return tuner.transfer_learning_tuner(additional_parents, estimator)
