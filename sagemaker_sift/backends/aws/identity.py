"""Who makes the calls, and which role jobs run under.

Source: "SageMaker AI execution roles" and "Get your execution role", SageMaker developer guide;
"IAM identifiers", IAM user guide.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from sagemaker_sift.backends.aws.clients import AwsClients
from sagemaker_sift.backends.errors import read_code, translate_errors
from sagemaker_sift.contract.problem import Problem
from sagemaker_sift.exceptions import AccessDeniedError, InvalidRequestError, NotFoundError

NOTEBOOK_METADATA_FILE = Path("/opt/ml/metadata/resource-metadata.json")
"""Says, inside a SageMaker notebook or Studio app, which one it is."""

_ASSUMED_ROLE = re.compile(r"arn:([^:]+):sts::(\d+):assumed-role/([^/]+)/.*")
_CONSOLE_PREFIX = "AmazonSageMaker-ExecutionRole"
_DENIED = re.compile(r"AccessDenied.*|UnauthorizedOperation")


class AwsIdentity:
    """The identity that a session's credentials belong to.

    Args:
        clients: Of the session.
        metadata_file: Where a SageMaker notebook says which one it is.
    """

    def __init__(self, clients: AwsClients, metadata_file: Path = NOTEBOOK_METADATA_FILE) -> None:
        self._clients = clients
        self._metadata_file = metadata_file
        self._role_arns: dict[str, str] = {}

    @functools.cached_property
    def _caller(self) -> Mapping[str, Any]:
        with translate_errors():
            caller: Mapping[str, Any] = self._clients.get("sts").get_caller_identity()
        return caller

    @property
    def account_id(self) -> str:
        """Twelve digits."""
        return str(self._caller["Account"])

    @functools.cached_property
    def arn(self) -> str:
        """ARN of the role that runs here, or of the user.

        On a SageMaker notebook or in Studio it is the execution role; elsewhere the role behind
        the credentials, with its path, or the user as STS names it.
        """
        return self._find_notebook_role() or self._find_caller_role() or str(self._caller["Arn"])

    def execution_role(self) -> str:
        """Return the ARN of the role that runs here.

        Raises:
            InvalidRequestError: If the credentials are those of a user, not of a role.
        """
        if ":role/" not in self.arn:
            raise InvalidRequestError(
                [
                    Problem(
                        "role",
                        f"is not given, and {self.arn} is no role that a job could run under. "
                        "Pass `role=`, or set SageMaker.TrainingJob.RoleArn in the config file.",
                    )
                ]
            )
        return self.arn

    def expand_role(self, role: str) -> str:
        """Return the ARN of a role.

        Args:
            role: An ARN, which is returned as it is, or a name, with or without a path.

        Raises:
            InvalidRequestError: If there is no such role, or it may not be looked up.
        """
        if role.startswith("arn:"):
            return role
        name = role.rstrip("/").rpartition("/")[2]
        try:
            return self._read_role_arn(name)
        except NotFoundError:
            reason = f"account {self.account_id} has no role of that name. Check the name, or"
        except AccessDeniedError as error:
            reason = f"it may not be looked up ({error.action} is not allowed). Please"
        text = f"is {role!r}, but {reason} give the ARN, arn:aws:iam::<account>:role/<name>."
        raise InvalidRequestError([Problem("role", text)])

    def _read_role_arn(self, name: str) -> str:
        if name not in self._role_arns:
            with translate_errors(f"role {name!r}"):
                response = self._clients.get("iam").get_role(RoleName=name)
            self._role_arns[name] = str(response["Role"]["Arn"])
        return self._role_arns[name]

    def _find_caller_role(self) -> str | None:
        match = _ASSUMED_ROLE.fullmatch(str(self._caller["Arn"]))
        if match is None:
            return None
        partition, account, name = match.groups()
        try:
            return self._read_role_arn(name)
        except (AccessDeniedError, NotFoundError):
            # The path is not known then; the console creates its roles under service-role/.
            path = "service-role/" if name.startswith(_CONSOLE_PREFIX) else ""
            return f"arn:{partition}:iam::{account}:role/{path}{name}"

    def _find_notebook_role(self) -> str | None:
        try:
            metadata = json.loads(self._metadata_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        if not isinstance(metadata, dict):
            return None
        role = metadata.get("ExecutionRoleArn")
        if role:
            return str(role)
        with translate_errors("the execution role of this notebook"):
            try:
                if metadata.get("DomainId"):
                    return self._find_studio_role(metadata)
                if metadata.get("ResourceName"):
                    return self._find_instance_role(str(metadata["ResourceName"]))
            except ClientError as error:
                if not _DENIED.fullmatch(read_code(error)):
                    raise
        return None

    def _find_instance_role(self, name: str) -> str:
        sagemaker = self._clients.get("sagemaker")
        description = sagemaker.describe_notebook_instance(NotebookInstanceName=name)
        return str(description["RoleArn"])

    def _find_studio_role(self, metadata: Mapping[str, Any]) -> str | None:
        """Return the role of the user profile, or of the space, or the domain's default."""
        sagemaker = self._clients.get("sagemaker")
        domain_id, profile = metadata["DomainId"], metadata.get("UserProfileName")
        space = metadata.get("SpaceName")
        if not profile and space:
            description = sagemaker.describe_space(DomainId=domain_id, SpaceName=space)
            if description.get("SpaceSharingSettings", {}).get("SharingType") == "Private":
                profile = description.get("OwnershipSettings", {}).get("OwnerUserProfileName")
        if profile:
            description = sagemaker.describe_user_profile(
                DomainId=domain_id, UserProfileName=profile
            )
            role = description.get("UserSettings", {}).get("ExecutionRole")
            if role:
                return str(role)
        section = "DefaultUserSettings" if profile else "DefaultSpaceSettings"
        domain = sagemaker.describe_domain(DomainId=domain_id)
        role = domain.get(section, {}).get("ExecutionRole")
        return str(role) if role else None
