"""What may stand in a SageMaker config file, and the settings in it that are read.

The schema is AWS's own, so that one file serves this package and the SageMaker SDK. Sections about
training jobs and sessions are checked to the last value; other known sections are accepted as they
are, and unknown ones refused with the nearest name.

Source: "Configuring and using defaults with the SageMaker Python SDK" and the schema of the
SageMaker SDK v2; lengths and patterns are those of CreateTrainingJob.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sagemaker_sift.contract.problem import closest
from sagemaker_sift.defaults.located import Finding, Located, to_plain
from sagemaker_sift.defaults.rule import Flag, Items, Pairs, Rule, Section, Tags, Text, path_of

SECTIONS = (
    "PythonSDK",
    "FeatureGroup",
    "MonitoringSchedule",
    "Endpoint",
    "EndpointConfig",
    "AutoMLJob",
    "AutoMLJobV2",
    "TransformJob",
    "CompilationJob",
    "Pipeline",
    "Model",
    "ModelPackage",
    "ProcessingJob",
    "TrainingJob",
    "EdgePackagingJob",
)
"""What AWS's schema has under ``SageMaker``."""

MODULES = (
    "Session",
    "ModelTrainer",
    "Estimator",
    "RemoteFunction",
    "NotebookJob",
    "Serve",
    "TelemetryOptOut",
)
"""What AWS's schema has under ``SageMaker.PythonSDK.Modules``."""

_KMS_KEY = Text(high=2048)
_SUBNET = Text(high=32, pattern="[-0-9a-zA-Z]+", example="subnet-0a1b2c3d")
_SECURITY_GROUP = Text(high=32, pattern="[-0-9a-zA-Z]+", example="sg-0a1b2c3d")

TRAINING_JOB = Section(
    {
        "RoleArn": Text(
            low=20,
            high=2048,
            pattern=r"arn:aws[a-z\-]*:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+",
            example="arn:aws:iam::111122223333:role/SageMakerRole",
        ),
        "OutputDataConfig": Section({"KmsKeyId": _KMS_KEY}),
        "ResourceConfig": Section({"VolumeKmsKeyId": _KMS_KEY}),
        "VpcConfig": Section(
            {
                "Subnets": Items(_SUBNET, low=1, high=16),
                "SecurityGroupIds": Items(_SECURITY_GROUP, low=1, high=5),
            }
        ),
        "EnableNetworkIsolation": Flag(),
        "EnableInterContainerTrafficEncryption": Flag(),
        "Environment": Pairs(
            high=48, key_pattern="[a-zA-Z_][a-zA-Z0-9_]*", longest=512, is_one_setting=True
        ),
        "Tags": Tags(high=50),
        "ProfilerConfig": Section({"DisableProfiler": Flag()}),
    }
)
"""``SageMaker.TrainingJob``."""

SESSION = Section(
    {
        "DefaultS3Bucket": Text(
            low=3, high=63, pattern=r"[a-z0-9][.\-a-z0-9]{1,61}[a-z0-9]", example="my-bucket"
        ),
        "DefaultS3ObjectKeyPrefix": Text(low=1, high=1024),
    }
)
"""``SageMaker.PythonSDK.Modules.Session``."""

CUSTOM_PARAMETERS = Pairs(key_pattern=r"[\w\s.:/=+\-@]+")
"""``CustomParameters``: free text of whoever wrote the file; nothing here uses it."""

_READ: Mapping[str, Rule] = {
    "SageMaker.TrainingJob": TRAINING_JOB,
    "SageMaker.PythonSDK.Modules.Session": SESSION,
    "CustomParameters": CUSTOM_PARAMETERS,
}
_KNOWN: Mapping[str, tuple[str, ...]] = {
    "": ("SchemaVersion", "CustomParameters", "SageMaker"),
    "SageMaker": SECTIONS,
    "SageMaker.PythonSDK": ("Modules", "Resources"),  # Resources: the SDK v3's own schema
    "SageMaker.PythonSDK.Modules": MODULES,
}


def find_findings(root: Located) -> list[Finding]:
    """Return everything in a file that breaks the schema.

    Args:
        root: The whole file.
    """
    if root.is_refused or root.value in (None, {}):
        return []
    if not isinstance(root.value, dict):
        return [Finding(root.line, "", "must hold settings, such as SchemaVersion: '1.0'.")]
    return [*_check_version(root), *_check_section("", root)]


def read_settings(root: Located) -> Iterator[tuple[str, Located]]:
    """Yield path and value of every setting that this package reads, of a file without findings.

    ``Environment`` and ``CustomParameters`` are taken apart, one entry a name.
    """
    for path, rule in _READ.items():
        place = find_place(root, path)
        if place is not None:
            yield from rule.leaves(path, place)


def find_unread(root: Located) -> Iterator[tuple[str, Located]]:
    """Yield path and place of every section that is accepted and not read."""
    for parent, known in _KNOWN.items():
        place = find_place(root, parent) if parent else root
        for name in known:
            path = path_of(parent, name)
            if path not in {*_READ, *_KNOWN, "SchemaVersion"} and place is not None:
                found = (place.value or {}).get(name)
                if found is not None:
                    yield path, found


def find_place(root: Located, path: str) -> Located | None:
    """Return what stands at a dotted path, or ``None``."""
    place: Located | None = root
    for name in path.split("."):
        place = place.value.get(name) if place and isinstance(place.value, dict) else None
    return place


def _check_version(root: Located) -> Iterator[Finding]:
    version = root.value.get("SchemaVersion")
    remedy = "Write: SchemaVersion: '1.0'"
    if version is None:
        yield Finding(root.line, "SchemaVersion", f"is missing. {remedy}")
    elif version.value != "1.0" and not version.is_refused:
        value = to_plain(version)
        shown = f"is the number {value}" if isinstance(value, float) else "is another"
        yield Finding(
            version.line, "SchemaVersion", f"{shown}, but must be the text 1.0. {remedy}"
        )


def _check_section(path: str, place: Located) -> Iterator[Finding]:
    """Check a section whose names are known and whose content is again sections."""
    if place.is_refused:
        return
    if not isinstance(place.value, dict):
        yield Finding(place.line, path, "must hold settings, indented below it.")
        return
    for name, entry in place.value.items():
        inner = path_of(path, name)
        if name not in _KNOWN[path]:
            hint = closest(str(name), _KNOWN[path])
            where = f"section of {path}" if path else "part of a SageMaker config file"
            yield Finding(entry.line, inner, f"is not a {where}.{hint}")
        elif inner in _READ:
            yield from _READ[inner].check(inner, entry)
        elif inner in _KNOWN:
            yield from _check_section(inner, entry)
