"""Composition: data sets by name, recipes, tables, the command line. It alone may import the others."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from experiments.api import evaluate

__all__ = ["evaluate"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, because torch takes seconds (PEP 562)."""
    if name == "evaluate":
        from experiments.api import evaluate

        return evaluate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
