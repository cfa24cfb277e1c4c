"""Where jobs run, said once: every estimator of a session runs there.

``LocalSession`` runs them on this machine. With it no code path can reach AWS, and no
credentials are read.
"""

from sagemaker_sift.session.job_session import JobSession
from sagemaker_sift.session.local_session import DEFAULT_LOCAL_ROOT, LocalSession

__all__ = ["DEFAULT_LOCAL_ROOT", "JobSession", "LocalSession"]
