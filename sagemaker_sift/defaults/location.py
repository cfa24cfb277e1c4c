"""Where the SageMaker config files lie, and their bytes.

Source: "Configuring and using defaults with the SageMaker Python SDK"; of locations that do not
exist, and of folders, the SageMaker SDK v2.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from platformdirs import site_config_dir, user_config_dir

from sagemaker_sift.exceptions import AccessDeniedError, BackendError, ConfigurationError

ADMIN_OVERRIDE = "SAGEMAKER_ADMIN_CONFIG_OVERRIDE"
"""Environment variable that names the administrator's file in place of the default one."""

USER_OVERRIDE = "SAGEMAKER_USER_CONFIG_OVERRIDE"
"""Environment variable that names the user's file in place of the default one."""

FILE_NAME = "config.yaml"
"""What the file is called in a folder."""

_APPLICATION = "sagemaker"
_YAML_SUFFIXES = (".yaml", ".yml")
_NOT_THERE = {"NoSuchKey", "NoSuchBucket", "NotFound", "404"}

ReadS3 = Callable[[str], bytes]
"""Returns the object of an S3 URI; raises ``NotFoundError`` if there is none."""


@dataclass(frozen=True, slots=True)
class Location:
    """A place where a file may lie.

    Attributes:
        path: Of the file or of a folder that holds a ``config.yaml``; may be an S3 URI.
        named_by: What names it: an environment variable or argument; empty for the default place,
            where no file need be.
    """

    path: str
    named_by: str = ""

    @property
    def is_on_s3(self) -> bool:
        """Whether it is an S3 URI."""
        return self.path.startswith("s3://")


def find_locations(
    extra: Sequence[str | os.PathLike[str]], environ: Mapping[str, str]
) -> list[Location]:
    """Return the places of the administrator, of the user, and the further ones, in this order.

    Args:
        extra: Further files or folders.
        environ: Environment variables.

    Raises:
        ConfigurationError: If a place has no name.
    """
    locations = [
        _find_default(ADMIN_OVERRIDE, site_config_dir(_APPLICATION), environ),
        _find_default(USER_OVERRIDE, user_config_dir(_APPLICATION), environ),
        *(Location(os.fspath(path), "`extra`") for path in extra),
    ]
    for location in locations:
        if not location.path:
            what = "is empty. Name a file or folder, or leave it out."
            raise ConfigurationError(what, file=location.named_by)
    return locations


def read_location(location: Location, read_s3: ReadS3 | None) -> tuple[str, bytes] | None:
    """Return the name of the file at a location and its content.

    Args:
        location: Where to look.
        read_s3: How to read S3.

    Returns:
        ``None`` if it is a default place without a file.

    Raises:
        ConfigurationError: If there is no file where one was named, or it cannot be read.
    """
    if location.is_on_s3:
        return _read_s3(location, read_s3)
    path = Path(location.path).expanduser()
    try:
        try:
            return str(path), path.read_bytes()
        except IsADirectoryError:
            path /= FILE_NAME
            return str(path), path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        if not location.named_by:
            return None
        raise ConfigurationError(
            f"does not exist, but {location.named_by} names it.", file=str(path)
        ) from None
    except OSError as error:
        what = f"cannot be read: {error.strerror}."
        raise ConfigurationError(what, file=str(path)) from error
    except ValueError:
        raise ConfigurationError("is no path.", file=repr(location.path)) from None


def _find_default(variable: str, folder: str, environ: Mapping[str, str]) -> Location:
    if variable in environ:
        return Location(environ[variable], variable)
    return Location(os.path.join(folder, FILE_NAME))


def _read_s3(location: Location, read_s3: ReadS3 | None) -> tuple[str, bytes]:
    if read_s3 is None:
        what = (
            f"lies on S3, where {location.named_by} says it is, but nothing here reads S3. "
            "Use a session that reaches AWS, or a copy on this machine."
        )
        raise ConfigurationError(what, file=location.path)
    candidates = _find_candidates(location.path)
    for uri in candidates:
        try:
            return uri, read_s3(uri)
        except FileNotFoundError:
            continue
        except BackendError as error:
            # S3 denies access to what does not exist, unless the identity may list the bucket.
            may_be_folder = isinstance(error, AccessDeniedError) and uri != candidates[-1]
            if error.code not in _NOT_THERE and not may_be_folder:
                raise
        except ValueError as error:
            raise ConfigurationError(f"cannot be read: {error}", file=uri) from error
    what = f"does not exist, but {location.named_by} names it."
    raise ConfigurationError(what, file=" and ".join(candidates))


def _find_candidates(uri: str) -> list[str]:
    """Return where the file may lie, if ``uri`` may be one of a file or of a folder."""
    key = uri.removeprefix("s3://").partition("/")[2]
    in_folder = f"{uri.rstrip('/')}/{FILE_NAME}"
    if not key or key.endswith("/"):
        return [in_folder]
    return [uri] if key.endswith(_YAML_SUFFIXES) else [uri, in_folder]
