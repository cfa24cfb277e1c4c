"""Values with the places that they came from."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sagemaker_sift.defaults.located import Finding, Located, locate, to_plain
from sagemaker_sift.defaults.schema import find_findings, find_unread, read_settings
from sagemaker_sift.exceptions import ConfigurationError

_ENVIRONMENT = "SageMaker.TrainingJob.Environment"
_CUSTOM = "CustomParameters"
_MASK = "***"


@dataclass(frozen=True, slots=True)
class Setting:
    """One value and where it came from.

    Attributes:
        path: Where it stands in the file, such as ``SageMaker.TrainingJob.RoleArn``.
        value: As YAML gives it.
        source: Such as ``/home/me/.config/sagemaker/config.yaml:4``; of an ``Environment`` that
            several files have a part in, all of them, separated by commas.
    """

    path: str
    value: Any
    source: str

    @property
    def shown(self) -> str:
        """The value for people; what may be a secret is masked.

        Example:
            >>> Setting("SageMaker.TrainingJob.Environment", {"TOKEN": "1234"}, "file:3").shown
            'TOKEN=***'
        """
        if isinstance(self.value, dict):
            return ", ".join(f"{name}={_MASK}" for name in self.value)
        if self.path.startswith(f"{_CUSTOM}."):
            return _MASK
        if isinstance(self.value, list):
            return ", ".join(_show_item(item) for item in self.value) or "none"
        return str(self.value).lower() if isinstance(self.value, bool) else str(self.value)


class Defaults:
    """The settings of all config files, later files winning.

    Args:
        settings: One a path; a later one of the same path wins.
        unread: Path and source of the sections that were accepted and are not used.

    Example:
        >>> content = {"SchemaVersion": "1.0",
        ...     "SageMaker": {"TrainingJob": {"EnableNetworkIsolation": True}}}
        >>> defaults = Defaults.from_mapping(content, "sagemaker_config")
        >>> defaults.find("SageMaker.TrainingJob.EnableNetworkIsolation").value
        True
    """

    def __init__(
        self, settings: Iterable[Setting] = (), unread: Iterable[tuple[str, str]] = ()
    ) -> None:
        self._settings = {setting.path: setting for setting in settings}
        self._unread = dict(unread)

    @classmethod
    def load(
        cls,
        extra: Sequence[str | os.PathLike[str]] = (),
        *,
        environ: Mapping[str, str] | None = None,
        read_s3: Callable[[str], bytes] | None = None,
    ) -> Defaults:
        """Read the administrator's file, then the user's, then further ones; later ones win.

        Mappings are merged, everything else is replaced, as the SageMaker SDK does. The default
        places are ``sagemaker/config.yaml`` in the system's and in the user's folder of
        configuration; there a file may be missing.

        Args:
            extra: Further files, or folders that hold a ``config.yaml``; on S3 too.
            environ: Environment variables; those of this process by default. Of them,
                ``SAGEMAKER_ADMIN_CONFIG_OVERRIDE`` and ``SAGEMAKER_USER_CONFIG_OVERRIDE`` name
                other places than the default ones.
            read_s3: Returns the object of an S3 URI and raises ``NotFoundError`` if there is none.

        Raises:
            ConfigurationError: With everything that is wrong in the first file that is broken; if
                a file that was named does not exist; or if one lies on S3 and ``read_s3`` is
                missing.
            BackendError: If S3 refuses to be read.
        """
        # Sessions import this module, and importing them must not load the reader of YAML.
        from sagemaker_sift.defaults.document import read_document  # noqa: PLC0415
        from sagemaker_sift.defaults.location import find_locations, read_location  # noqa: PLC0415

        if isinstance(extra, str):
            raise TypeError(f"`extra` is {extra!r}, but must be a list of paths: [{extra!r}].")
        settings: list[Setting] = []
        unread: list[tuple[str, str]] = []
        for location in find_locations(extra, os.environ if environ is None else environ):
            found = read_location(location, read_s3)
            if found is None:
                continue
            file, content = found
            root, findings = read_document(content, file)
            layer = _read_layer(root, findings, file)
            settings += layer[0]
            unread += layer[1]
        return cls(_fold(settings), unread)

    @classmethod
    def from_mapping(cls, content: Mapping[str, Any] | None, source: str) -> Defaults:
        """Read settings that a program holds, in the form of the file.

        Args:
            content: Such as ``sagemaker_config`` of a session of the SageMaker SDK v2.
            source: What explanations and errors call it.

        Raises:
            ConfigurationError: With everything that is wrong.
        """
        settings, unread = _read_layer(locate(content), [], source)
        return cls(_fold(settings), unread)

    def find(self, path: str) -> Setting | None:
        """Return the setting at ``path``, or ``None``."""
        return self._settings.get(path)

    def settings(self) -> list[Setting]:
        """Return every setting, sorted by path."""
        return [self._settings[path] for path in sorted(self._settings)]

    def unread(self) -> list[tuple[str, str]]:
        """Return path and source of the sections that this package has no use for, sorted."""
        return sorted(self._unread.items())


def _read_layer(
    root: Located, findings: Sequence[Finding], file: str
) -> tuple[list[Setting], list[tuple[str, str]]]:
    """Return the settings of one file and the sections in it that are not used."""
    broken = [*findings, *find_findings(root)]
    if broken:
        raise _refuse(file, broken)
    if not root.value:
        return [], []
    settings = [
        Setting(path, to_plain(place), _name_place(file, place.line))
        for path, place in read_settings(root)
    ]
    return settings, [(path, _name_place(file, place.line)) for path, place in find_unread(root)]


def _refuse(file: str, findings: Sequence[Finding]) -> ConfigurationError:
    ordered = sorted(findings, key=lambda finding: finding.line or 0)
    first = ordered[0]
    if len(ordered) == 1:
        return ConfigurationError(str(first), file=file, line=first.line)
    lines = [f"  {_name_place(file, finding.line)}: {finding}" for finding in ordered]
    what = "\n".join([f"{len(ordered)} things are wrong:", *lines])
    return ConfigurationError(what, file=file, line=first.line)


def _name_place(file: str, line: int | None) -> str:
    return f"{file}:{line}" if line else file


def _fold(entries: Iterable[Setting]) -> list[Setting]:
    """Return the settings in force, the variables of ``Environment`` put together."""
    last = {entry.path: entry for entry in entries}
    prefix = f"{_ENVIRONMENT}."
    variables = [entry for path, entry in last.items() if path.startswith(prefix)]
    settings = [entry for path, entry in last.items() if not path.startswith(prefix)]
    if variables:
        values = {entry.path.removeprefix(prefix): entry.value for entry in variables}
        sources = dict.fromkeys(entry.source for entry in variables)
        settings.append(Setting(_ENVIRONMENT, values, ", ".join(sources)))
    return settings


def _show_item(item: Any) -> str:
    return f"{item['Key']}={item['Value']}" if isinstance(item, dict) else str(item)
