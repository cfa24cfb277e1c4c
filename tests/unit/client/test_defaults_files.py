"""Config files with mistakes: each is named with file and line, all of a file at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sagemaker_sift.defaults import Defaults
from sagemaker_sift.defaults.schema import MODULES, SECTIONS
from sagemaker_sift.exceptions import ConfigurationError
from tests.supports.aws import set_environment

HEAD = "SchemaVersion: '1.0'\n"
ROLE = "arn:aws:iam::111122223333:role/a"


@pytest.fixture(autouse=True)
def no_files_but_those_of_the_test(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    set_environment(monkeypatch, tmp_path)


def refuse(tmp_path: Path, content: str | bytes) -> ConfigurationError:
    """Return the error that a file of this content gives."""
    path = tmp_path / "a.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigurationError) as caught:
        Defaults.load([path], environ={})
    assert caught.value.file == str(path)
    return caught.value


def test_all_mistakes_of_a_file_are_told_at_once_in_the_order_of_lines(tmp_path: Path) -> None:
    error = refuse(
        tmp_path,
        "SchemaVersion: 1.0\n"
        "SageMaker:\n"
        "  TrainingJobs: {}\n"
        "  TrainingJob:\n"
        "    RoleArn: admin\n"
        "    VpcConfg: {}\n"
        "    Tags: [{Key: a, Value: b}, {Key: a, Value: c}]\n",
    )
    path = tmp_path / "a.yaml"
    assert str(error).splitlines() == [
        f"{path}:1: 5 things are wrong:",
        f"  {path}:1: `SchemaVersion` is the number 1.0, but must be the text 1.0. "
        "Write: SchemaVersion: '1.0'",
        f"  {path}:3: `SageMaker.TrainingJobs` is not a section of SageMaker. "
        "Did you mean 'TrainingJob'?",
        f"  {path}:5: `SageMaker.TrainingJob.RoleArn` has 5 characters, "
        "but must have at least 20.",
        f"  {path}:6: `SageMaker.TrainingJob.VpcConfg` is not a setting of "
        "SageMaker.TrainingJob. Did you mean 'VpcConfig'?",
        f"  {path}:7: `SageMaker.TrainingJob.Tags[1]` has the Key 'a' a second time.",
    ]
    assert error.line == 1


def in_job(text: str) -> str:
    return f"{HEAD}SageMaker:\n  TrainingJob:\n    {text}\n"


def in_session(text: str) -> str:
    return f"{HEAD}SageMaker: {{PythonSDK: {{Modules: {{Session:\n {{{text}}}}}}}}}\n"


MISTAKES: dict[str, tuple[str, int | None, str]] = {
    "no version": (
        "SageMaker: {}\n",
        1,
        "`SchemaVersion` is missing. Write: SchemaVersion: '1.0'",
    ),
    "other version": ("SchemaVersion: '2.0'\n", 1, "is another, but must be the text 1.0"),
    "unknown part": (f"{HEAD}Sagemaker: {{}}\n", 2, "Did you mean 'SageMaker'?"),
    "list": ("- a\n", 1, "must hold settings"),
    "text": ("hello\n", 1, "must hold settings"),
    "empty section": (f"{HEAD}SageMaker:\n", 2, "`SageMaker` must hold settings"),
    "role pattern": (in_job("RoleArn: arn:aws:iam::12:role/abcdefgh"), 4, "must look like 'arn:"),
    "role with newline": (in_job(f'RoleArn: "{ROLE}\\n"'), 4, "must look like 'arn:"),
    "long role": (in_job(f"RoleArn: {ROLE}{'a' * 2048}"), 4, "must have at most 2048."),
    "empty value": (in_job("RoleArn:"), 4, "is empty, not text. Give a text."),
    "long key": (
        in_job(f"OutputDataConfig: {{KmsKeyId: {'k' * 2049}}}"),
        4,
        "OutputDataConfig.KmsKeyId` has 2049 characters, but must have at most 2048.",
    ),
    "number": (in_job("ResourceConfig: {VolumeKmsKeyId: 12}"), 4, "is a number, not text. Put"),
    "no section": (in_job("VpcConfig: [a]"), 4, "is a list, but must hold settings"),
    "no list": (in_job("VpcConfig: {Subnets: subnet-1}"), 4, "must be a list, such as [subnet-"),
    "no subnet": (
        in_job("VpcConfig: {Subnets: []}"),
        4,
        "has 0 entries, but must have at least 1",
    ),
    "17 subnets": (
        in_job(f"VpcConfig: {{Subnets: [{', '.join('s' * 17)}]}}"),
        4,
        "has 17 entries, but must have at most 16.",
    ),
    "6 groups": (
        in_job("VpcConfig: {SecurityGroupIds: [a, b, c, d, e, f]}"),
        4,
        "SecurityGroupIds` has 6 entries, but must have at most 5.",
    ),
    "bad subnet": (in_job("VpcConfig: {Subnets: [a, b/c]}"), 4, "Subnets[1]` is 'b/c', but must"),
    "long subnet": (in_job(f"VpcConfig: {{Subnets: [{'a' * 33}]}}"), 4, "must have at most 32."),
    "flag": (in_job("EnableNetworkIsolation: 'true'"), 4, "is text, but must be true or false"),
    "profiler": (in_job("ProfilerConfig: {DisableProfiler: 1}"), 4, "is a number, but must be"),
    "tags": (in_job("Tags: {a: b}"), 4, "is a section, but must be a list of Key and Value."),
    "51 tags": (
        in_job(f"Tags: [{', '.join(f'{{Key: k{n}, Value: v}}' for n in range(51))}]"),
        4,
        "has 51 entries, but must have at most 50.",
    ),
    "no value": (in_job("Tags: [{Key: a}]"), 4, "Tags[0]` has no Value."),
    "tag text": (in_job("Tags: [a]"), 4, "Tags[0]` is text, but must hold settings"),
    "empty tag key": (in_job("Tags: [{Key: '', Value: a}]"), 4, "must have at least 1."),
    "long tag value": (in_job(f"Tags: [{{Key: a, Value: {'v' * 257}}}]"), 4, "at most 256."),
    "tag pattern": (
        in_job("Tags: [{Key: a*, Value: v}]"),
        4,
        "is 'a*', but must look like 'team'",
    ),
    "environment": (in_job("Environment: [A]"), 4, "is a list, but must hold names with texts"),
    "49 variables": (
        in_job(f"Environment: {{{', '.join(f'V{n}: v' for n in range(49))}}}"),
        4,
        "has 49 entries, but must have at most 48.",
    ),
    "bucket": (in_session("DefaultS3Bucket: Bucket_1"), 3, "must look like 'my-bucket'"),
    "short bucket": (in_session("DefaultS3Bucket: ab"), 3, "must have at least 3."),
    "prefix": (in_session("DefaultS3ObjectKeyPrefix: ''"), 3, "must have at least 1."),
    "session key": (in_session("DefaultS3bucket: abc"), 3, "Did you mean 'DefaultS3Bucket'?"),
    "module": (
        f"{HEAD}SageMaker: {{PythonSDK: {{Modules: {{Sessions: {{}}}}}}}}\n",
        2,
        "`SageMaker.PythonSDK.Modules.Sessions` is not a section of SageMaker.PythonSDK.Modules. "
        "Did you mean 'Session'?",
    ),
    "sdk": (f"{HEAD}SageMaker: {{PythonSDK: {{Module: {{}}}}}}\n", 2, "Did you mean 'Modules'?"),
    "custom value": (f"{HEAD}CustomParameters: {{a: 1}}\n", 2, "is a number, not text."),
    "custom name": (f"{HEAD}CustomParameters: {{'a*': b}}\n", 2, "has a name that does not match"),
    "twice": (
        in_job(f"RoleArn: {ROLE}\n    RoleArn: {ROLE}"),
        5,
        "`RoleArn` stands twice; it is also on li",
    ),
    "twice in what is not read": (
        f"{HEAD}SageMaker:\n  Model:\n    A: 1\n    A: 2\n",
        5,
        "`A` stands twice; it is also on line 4.",
    ),
    "unknown key that YAML reads as a number": (in_job("1: a"), 4, "TrainingJob.1` is not a"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named_with_its_line(name: str, tmp_path: Path) -> None:
    content, line, says = MISTAKES[name]
    error = refuse(tmp_path, content)
    assert says in str(error)
    assert str(error).startswith(f"{tmp_path}/a.yaml:{line}: ")
    assert error.line == line


BROKEN: dict[str, tuple[str | bytes, int | None, str]] = {
    "syntax": (in_job("RoleArn: 'a") + "b: c\n", 6, "is not valid YAML: while scanning a quoted"),
    "tab": (f"{HEAD}\tSageMaker: 1\n", 2, "cannot start any token."),
    "alias": (in_job("RoleArn: *nobody"), 4, "found undefined alias 'nobody'"),
    "two documents": (f"{HEAD}---\n{HEAD}", 2, "but found another document"),
    "control character": (f"{HEAD}a: '\x07'\n", 2, "contains the character U+0007"),
    "latin-1": (HEAD.encode() + b"a: \xe9\n", 2, "is not UTF-8 text. Save it as UTF-8."),
    "python object": (in_job("RoleArn: !!python/name:os.system"), 4, "holds a value that is no"),
    "date": (in_job("RoleArn: 2026-99-99"), 4, "holds a value that is no timestamp"),
    "lone surrogate": (in_job('RoleArn: "\\ud800"'), 4, "holds a value that is no str"),
    "character code": (in_job('RoleArn: "\\UFFFFFFFF"'), None, "code in it is out of range"),
    "set": (in_job("Tags: !!set {a}"), 4, "has the tag 'tag:yaml.org,2002:set'"),
    "key": (in_job("? [a]\n    : b"), 4, "has a list or mapping where a key must stand."),
    "endless": (in_job("Tags: &a [*a]"), 4, "contains itself, by an alias."),
    "merge": (in_job("<<: [a]"), 4, "`<<` must name a mapping."),
    "deep": (f"{HEAD}SageMaker: {'[' * 20_000}", None, "is nested too deeply to be read."),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_not_yaml_is_named_with_its_line(name: str, tmp_path: Path) -> None:
    content, line, says = BROKEN[name]
    error = refuse(tmp_path, content)
    assert says in str(error)
    assert error.line == line
    assert error.__cause__ is None


@pytest.mark.parametrize(
    "entry",
    [
        "TOKEN: 5ecr3t99",
        "1TOKEN: 5ecr3t99x",
        "TOKEN: [5ecr3t99x]",
        f"TOKEN: 5ecr3t99x{'x' * 512}",
        "TOKEN: 2026-5ecr3t99x\n      TOKEN: 5ecr3t99x",
        "TOKEN: '5ecr3t99x",
        "TOKEN: !!int 5ecr3t99x",
        "ON: 5ecr3t99x",
        f"{'T' * 513}: 5ecr3t99x",
    ],
    ids=["number", "name", "list", "long", "twice", "syntax", "tag", "boolean", "long name"],
)
def test_no_error_quotes_a_value_of_environment(entry: str, tmp_path: Path) -> None:
    entry = entry.replace("TOKEN: 5ecr3t99", "TOKEN: 53399") if entry.endswith("t99") else entry
    error = refuse(tmp_path, in_job(f"Environment:\n      {entry}"))
    for secret in ("5ecr3t99x", "53399"):
        assert secret not in str(error)
        assert secret not in repr(error.__context__ if not error.__suppress_context__ else "")


def test_a_boolean_name_of_environment_is_explained(tmp_path: Path) -> None:
    error = refuse(tmp_path, in_job("Environment: {ON: 'x'}"))
    assert "has a name that YAML reads as true or false. Put it in quotes." in str(error)


def test_other_known_sections_are_accepted_unread(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    lines = ["SchemaVersion: '1.0'", "SageMaker:"]
    lines += [
        f"  {name}: {{Anything: [1, {{b: 2}}]}}" for name in SECTIONS[1:] if "Train" not in name
    ]
    lines += ["  PythonSDK:", "    Resources: {GlobalDefaults: {vpc_config: 1}}", "    Modules:"]
    lines += [f"      {name}: {{Anything: 1}}" for name in MODULES[1:]]
    path.write_text("\n".join(lines))
    defaults = Defaults.load([path], environ={})
    assert defaults.settings() == []
    assert len(defaults.unread()) == 13 + 1 + 6
    assert defaults.unread()[:2] == [
        ("SageMaker.AutoMLJob", f"{path}:7"),
        ("SageMaker.AutoMLJobV2", f"{path}:8"),
    ]
    assert ("SageMaker.PythonSDK.Modules.TelemetryOptOut", f"{path}:24") in defaults.unread()


def test_anchors_aliases_and_merge_keys_are_followed(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(
        f"{HEAD}SageMaker:\n"
        f"  Model: &shared {{RoleArn: {ROLE}, EnableNetworkIsolation: true}}\n"
        "  TrainingJob:\n"
        "    <<: *shared\n"
        "    EnableNetworkIsolation: false\n"
    )
    found: dict[str, Any] = {
        setting.path: (setting.value, setting.source)
        for setting in Defaults.load([path], environ={}).settings()
    }
    assert found == {
        "SageMaker.TrainingJob.RoleArn": (ROLE, f"{path}:3"),
        "SageMaker.TrainingJob.EnableNetworkIsolation": (False, f"{path}:6"),
    }


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + in_job(f"RoleArn: {ROLE}").encode())
    found = Defaults.load([path], environ={}).find("SageMaker.TrainingJob.RoleArn")
    assert found is not None
    assert found.value == ROLE


def test_a_mapping_of_a_program_is_held_to_the_same_rules() -> None:
    content = {"SchemaVersion": "1.0", "SageMaker": {"TrainingJob": {"RoleArn": 1, "X": 2}}}
    with pytest.raises(ConfigurationError) as caught:
        Defaults.from_mapping(content, "sagemaker_config")
    assert str(caught.value).splitlines() == [
        "sagemaker_config: 2 things are wrong:",
        "  sagemaker_config: `SageMaker.TrainingJob.RoleArn` is a number, not text. "
        "Put it in quotes.",
        "  sagemaker_config: `SageMaker.TrainingJob.X` is not a setting of SageMaker.TrainingJob."
        " Known: RoleArn, OutputDataConfig, ResourceConfig, VpcConfig, EnableNetworkIsolation, "
        "EnableInterContainerTrafficEncryption, Environment, Tags, ProfilerConfig.",
    ]
    assert caught.value.line is None
