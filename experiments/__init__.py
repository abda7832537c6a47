"""Composition: data sets by name, recipes, tables, the command line. It alone may import the others."""

from typing import TYPE_CHECKING, Any

from experiments.own_packages import check_imported

if TYPE_CHECKING:
    from experiments.api import evaluate

__all__ = ["evaluate"]

check_imported()


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, because torch takes seconds (PEP 562)."""
    if name == "evaluate":
        from experiments.api import evaluate

        return evaluate
    if name == "torchvision":
        from experiments.run.torchvision import import_torchvision

        return import_torchvision()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
