"""Where jobs run, said once: every estimator of a session runs there.

``LocalSession`` runs them on this machine. With it no code path can reach AWS, and no
credentials are read. ``Session`` runs them on Amazon SageMaker; boto3 is loaded when one is made.
"""

from sagemaker_sift.session.adoption import adopt_session, get_execution_role
from sagemaker_sift.session.aws_session import Session
from sagemaker_sift.session.explanation import Explanation
from sagemaker_sift.session.job_session import JobSession
from sagemaker_sift.session.local_session import DEFAULT_LOCAL_ROOT, LocalSession

__all__ = [
    "DEFAULT_LOCAL_ROOT",
    "Explanation",
    "JobSession",
    "LocalSession",
    "Session",
    "adopt_session",
    "get_execution_role",
]
