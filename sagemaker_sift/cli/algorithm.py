"""``sagemaker-sift algorithm``: Algorithm resources, described, checked, registered and found."""

from __future__ import annotations

import argparse
import json
from typing import Any

from sagemaker_sift.algorithm import Algorithm
from sagemaker_sift.cli.hyperparameter_option import (
    add_hyperparameter_option,
    read_hyperparameters,
)
from sagemaker_sift.cli.session_option import add_session_options, open_session
from sagemaker_sift.contract.instances import INSTANCES, suggest_batch_size
from sagemaker_sift.contract.specification import ALGORITHM_NAME
from sagemaker_sift.requests.algorithm import PLACEHOLDER_IMAGE
from sagemaker_sift.requests.validation_profile import build_validation_specification

_OF_VALIDATION = (
    "validation_role",
    "train",
    "validation",
    "output",
    "instance_type",
    "transform_input",
    "hyperparameters",
)
_REQUIRED_OF_VALIDATION = ("validation_role", "train", "output", "instance_type")

_STATUSES = ("Pending", "InProgress", "Completed", "Failed", "Deleting")


def add_command(commands: Any) -> None:
    """Add the subcommand."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "algorithm",
        help="describe, check and register Algorithm resources",
        description="An Algorithm resource tells SageMaker, its console and its tuning jobs what "
        "an image can be told: hyperparameters, channels, metrics and instance types.",
    )
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    _add_spec(actions)
    _add_validate(actions)
    _add_register(actions)
    _add_describe(actions)
    _add_list(actions)
    _add_delete(actions)
    _add_instances(actions)


def _add_spec(actions: Any) -> None:
    parser = actions.add_parser(
        "spec",
        help="print the bundled algorithm as a CreateAlgorithm request",
        description="Print the bundled algorithm as JSON: a CreateAlgorithm request, whose parts "
        "may also be pasted into the console.",
    )
    _add_image_options(parser)
    parser.add_argument("-o", "--output", metavar="FILE", help="write it to a file")
    parser.set_defaults(run=_spec)


def _add_validate(actions: Any) -> None:
    parser = actions.add_parser("validate", help="check a JSON file; nothing is sent")
    parser.add_argument(
        "file",
        metavar="FILE",
        help="a CreateAlgorithm request, a DescribeAlgorithm response or a TrainingSpecification",
    )
    parser.add_argument("--name", help="name of the algorithm, if the file has none")
    parser.set_defaults(run=_validate)


def _add_register(actions: Any) -> None:
    parser = actions.add_parser(
        "register",
        help="create an Algorithm resource",
        description="Create an Algorithm resource from a JSON file, or, with --image, for the "
        "bundled algorithm. With --validation-role SageMaker tries it out in a training job, and "
        "with --transform-input in a batch transform too; these jobs are billed.",
    )
    parser.add_argument("file", nargs="?", metavar="FILE", help="as validate takes it")
    _add_image_options(parser)
    parser.add_argument("--certify", action="store_true", help="for listing in AWS Marketplace")
    parser.add_argument("--validation-role", metavar="ARN", help="role of the validation jobs")
    parser.add_argument("--train", metavar="URI", help="training images of the validation job")
    parser.add_argument("--validation", metavar="URI", help="its validation images")
    parser.add_argument("--output", metavar="URI", help="where its model goes")
    parser.add_argument("--instance-type", metavar="TYPE", help="what it runs on")
    parser.add_argument("--transform-input", metavar="URI", help="images to predict")
    add_hyperparameter_option(parser)
    parser.add_argument("--no-wait", action="store_true", help="do not wait until it is ready")
    parser.add_argument("--dry-run", action="store_true", help="print the request, send nothing")
    add_session_options(parser)
    parser.set_defaults(run=_register, refuse=parser.error)


def _add_image_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--image", metavar="URI", help="image of yours that trains")
    parser.add_argument("--inference-image", metavar="URI", help="image of yours that serves")
    parser.add_argument(
        "--name", metavar="NAME", help=f"name of the algorithm (default: {ALGORITHM_NAME})"
    )


def _add_describe(actions: Any) -> None:
    parser = actions.add_parser("describe", help="print what SageMaker knows of an algorithm")
    parser.add_argument("name", metavar="NAME", help="name or ARN")
    add_session_options(parser)
    parser.set_defaults(run=_describe)


def _add_list(actions: Any) -> None:
    parser = actions.add_parser("list", help="list the algorithms of the account and region")
    parser.add_argument("--name-contains", metavar="TEXT", help="only those whose name has it")
    parser.add_argument("--status", choices=_STATUSES, help="only those")
    add_session_options(parser)
    parser.set_defaults(run=_list)


def _add_delete(actions: Any) -> None:
    parser = actions.add_parser("delete", help="delete an Algorithm resource")
    parser.add_argument("name", metavar="NAME", help="name or ARN")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    add_session_options(parser)
    parser.set_defaults(run=_delete)


def _add_instances(actions: Any) -> None:
    parser = actions.add_parser(
        "instances", help="list the instance types with a mini_batch_size to begin with"
    )
    parser.set_defaults(run=_instances)


def _spec(options: argparse.Namespace) -> int:
    algorithm = _build_bundled(options, options.image or PLACEHOLDER_IMAGE)
    if options.output is None:
        print(algorithm.to_json(), end="")
    else:
        algorithm.save(options.output)
        print(f"written: {options.output}")
    return 0


def _validate(options: argparse.Namespace) -> int:
    algorithm = Algorithm.from_json(options.file, name=options.name)
    algorithm.validate()
    specification = algorithm.training_specification
    counts = ", ".join(
        f"{len(specification.get(field, []))} {noun}"
        for field, noun in (
            ("SupportedHyperParameters", "hyperparameters"),
            ("TrainingChannels", "channels"),
            ("MetricDefinitions", "metrics"),
        )
    )
    print(f"valid: {algorithm.name}, {counts}")
    return 0


def _register(options: argparse.Namespace) -> int:
    if (options.file is None) == (options.image is None):
        options.refuse("give either FILE or --image")
    if options.file is not None:
        if options.inference_image is not None:
            options.refuse("--inference-image goes with --image; a FILE holds its own")
        algorithm = Algorithm.from_json(options.file, name=options.name)
    else:
        algorithm = _build_bundled(options, options.image)
    algorithm.certify_for_marketplace |= options.certify
    if any(getattr(options, name) for name in _OF_VALIDATION):
        algorithm.validation_specification = _build_validation(options)
    algorithm.validate()
    if options.dry_run:
        print(algorithm.to_json(), end="")
        return 0
    algorithm.register(open_session(options), wait=not options.no_wait)
    print(algorithm.arn)
    return 0


def _build_bundled(options: argparse.Namespace, image: str) -> Algorithm:
    return Algorithm.from_contract(
        image, name=options.name or ALGORITHM_NAME, inference_image=options.inference_image
    )


def _build_validation(options: argparse.Namespace) -> dict[str, Any]:
    missing = [name for name in _REQUIRED_OF_VALIDATION if not getattr(options, name)]
    if missing:
        names = ", ".join("--" + name.replace("_", "-") for name in missing)
        options.refuse(f"a validation needs {names} too")
    return build_validation_specification(
        options.validation_role,
        options.train,
        options.output,
        instance_type=options.instance_type,
        hyperparameters=read_hyperparameters(options),
        validation_uri=options.validation,
        transform_input_uri=options.transform_input,
    )


def _describe(options: argparse.Namespace) -> int:
    algorithm = Algorithm.find(options.name, open_session(options))
    print(json.dumps(algorithm.to_description(), indent=2, default=str))
    return 0


def _list(options: argparse.Namespace) -> int:
    session = open_session(options)
    found = Algorithm.list(session, options.name_contains, status=options.status)
    if not found:
        print(f"no algorithm in {session.boto_region_name}")
    for summary in found:
        print(f"{summary.name}  {summary.status}  {summary.created:%Y-%m-%d}  {summary.arn}")
    return 0


def _delete(options: argparse.Namespace) -> int:
    session = open_session(options)
    algorithm = Algorithm.find(options.name, session)
    where = f"{algorithm.name!r} in {session.boto_region_name}"
    if not options.yes and not _confirm(f"Delete the algorithm {where}? [y/N] "):
        print("nothing deleted")
        return 1
    algorithm.delete()
    print(f"deleted: {where}")
    return 0


def _confirm(question: str) -> bool:
    try:
        return input(question).strip().lower() in {"y", "yes"}
    except EOFError:
        print()
        return False


def _instances(options: argparse.Namespace) -> int:
    width = max(len(instance.type) for instance in INSTANCES)
    print(f"{'instance type'.ljust(width)}  GPUs  mini_batch_size")
    for instance in INSTANCES:
        batch_size = suggest_batch_size(instance.type)
        print(f"{instance.type.ljust(width)}  {instance.gpus:4}  {batch_size:15}")
    return 0
