"""``sagemaker-sift config``: which default values are in force, and where each comes from."""

from __future__ import annotations

import argparse
import os
from typing import Any

from sagemaker_sift.backends.aws.boto_session import open_boto_session
from sagemaker_sift.backends.aws.s3_uri import split_s3_uri
from sagemaker_sift.backends.errors import translate_errors
from sagemaker_sift.cli.session_option import add_session_options
from sagemaker_sift.defaults import Defaults
from sagemaker_sift.session.explanation import Explanation, explain_defaults


def add_command(commands: Any) -> None:
    """Add the subcommand."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "config",
        help="show the default values of the SageMaker config files",
        description="The SageMaker config files give default values to jobs on AWS. They are the "
        "files of the SageMaker SDK; SAGEMAKER_ADMIN_CONFIG_OVERRIDE and "
        "SAGEMAKER_USER_CONFIG_OVERRIDE name others.",
    )
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    explain = actions.add_parser(
        "explain",
        help="print each setting, its value, and the line that it comes from",
        description="Print each setting that is in force, its value, and file and line. Values "
        "that may be secrets are masked. AWS is reached only if a file lies on S3.",
    )
    explain.add_argument(
        "--config",
        action="append",
        default=[],
        metavar="FILE",
        help="a further file, which wins over the others; on S3 too; may be repeated",
    )
    add_session_options(explain)
    explain.set_defaults(run=_explain)


def _explain(options: argparse.Namespace) -> int:
    def read_s3(uri: str) -> bytes:
        bucket, key = split_s3_uri(uri)
        with translate_errors(uri):
            s3 = open_boto_session(options.region, options.profile).client("s3")
            content: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        return content

    rows = explain_defaults(Defaults.load(options.config, environ=os.environ, read_s3=read_s3))
    print(Explanation(rows) if rows else "No config file sets anything.")
    return 0
