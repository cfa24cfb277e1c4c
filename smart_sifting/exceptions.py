"""The errors that smart sifting documents, each also importable from where it is raised.

::

    ValueError
    x SiftConfigValidationException        a configuration misses a key or has an unsupported value
    TypeError
    x UnsupportedDataFormatException       a batch that the default formats cannot take apart
    x LossImplementationNotProvidedException   no object with a callable ``loss``

Source: "Troubleshooting" in
https://docs.aws.amazon.com/sagemaker/latest/dg/train-smart-sifting-best-prac-considerations-troubleshoot.html
"""

from __future__ import annotations


class SiftConfigValidationException(ValueError):  # noqa: N818 - the published name
    """A sift configuration misses a key, has an unknown key or an unsupported value."""


class UnsupportedDataFormatException(TypeError):  # noqa: N818 - the published name
    """A batch has a structure from which single samples cannot be taken."""


class LossImplementationNotProvidedException(TypeError):  # noqa: N818 - the published name
    """The loss implementation is missing or does not implement the Loss interface."""
