"""Default values of jobs, from the SageMaker config files.

Source: "Configuring and using defaults with the SageMaker Python SDK".
"""

from sagemaker_sift.defaults.defaults import Defaults, Setting

__all__ = ["Defaults", "Setting"]
