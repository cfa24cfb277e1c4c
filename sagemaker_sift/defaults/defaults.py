"""Values with the places that they came from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Setting:
    """One value and where it came from.

    Attributes:
        path: Where it stands in the file, such as ``SageMaker.TrainingJob.RoleArn``.
        value: As YAML gives it.
        source: Such as ``/home/me/.config/sagemaker/config.yaml:4``.
    """

    path: str
    value: Any
    source: str


class Defaults:
    """The settings of all config files, later files winning.

    Args:
        settings: One a path; a later one of the same path wins.
    """

    def __init__(self, settings: Iterable[Setting] = ()) -> None:
        self._settings = {setting.path: setting for setting in settings}

    def find(self, path: str) -> Setting | None:
        """Return the setting at ``path``, or ``None``."""
        return self._settings.get(path)

    def settings(self) -> list[Setting]:
        """Return every setting, sorted by path."""
        return [self._settings[path] for path in sorted(self._settings)]
