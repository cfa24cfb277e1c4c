"""The table of all hyperparameters that the documentation shows, made from the contract."""

from __future__ import annotations

from collections.abc import Iterator

from sagemaker_sift.contract.hyperparameter import HyperparameterSpec, to_text
from sagemaker_sift.contract.hyperparameters import SPECS, Hyperparameters

_HEAD = """\
# Hyperparameters

Made from `sagemaker_sift/contract/hyperparameters.py` by `make golden`; a test holds it to that.
SageMaker carries every value as a string. "Tunable" says whether a tuning job may search it.
"""


def build_reference() -> str:
    """Return the documentation page, in Markdown.

    Example:
        >>> build_reference().splitlines()[0]
        '# Hyperparameters'
    """
    builtin = {name: spec for name, spec in SPECS.items() if spec.is_builtin}
    own = {name: spec for name, spec in SPECS.items() if not spec.is_builtin}
    return "\n".join(
        [
            _HEAD,
            "## Of SageMaker's built-in image classification algorithm\n",
            *_build_table(builtin),
            "\n## Of sifting and of this trainer\n",
            *_build_table(own),
            "",
        ]
    )


def _build_table(specs: dict[str, HyperparameterSpec]) -> Iterator[str]:
    yield "| name | values | default | unit | tunable | meaning |"
    yield "|---|---|---|---|---|---|"
    for name, spec in specs.items():
        default = Hyperparameters.model_fields[name].default
        if spec.is_required:
            shown = "required"
        else:
            shown = "-" if default in {None, ()} else f"`{to_text(default, spec)}`"
        tunable = "yes" if spec.is_tunable else ""
        yield (
            f"| `{name}` | {spec.describe_range()} | {shown} | {spec.unit} | {tunable} "
            f"| {spec.meaning} |"
        )
