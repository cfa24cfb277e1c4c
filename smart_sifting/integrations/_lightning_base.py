"""The callback class of the Lightning package that a script uses."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any

_PACKAGES = ("lightning.pytorch", "pytorch_lightning")


def find_callback_class() -> Any:
    """Return the callback class of the Lightning package, or packages, that the script uses.

    Returns:
        ``Callback`` of ``lightning.pytorch`` or of ``pytorch_lightning``; a class of both if both
        were imported.

    Raises:
        ImportError: If neither is installed.
    """
    imported = [sys.modules[name] for name in _PACKAGES if name in sys.modules]
    if not imported:
        installed = [name for name in _PACKAGES if _is_installed(name)]
        if not installed:
            raise ImportError(
                "`smart_sifting` needs Lightning for this, which is not installed. "
                "Run: pip install lightning"
            )
        imported = [importlib.import_module(installed[0])]
    bases = tuple(module.Callback for module in imported)
    return bases[0] if len(bases) == 1 else type("Callback", bases, {})


def _is_installed(name: str) -> bool:
    return importlib.util.find_spec(name.partition(".")[0]) is not None
