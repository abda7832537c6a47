"""Composition: data sets by name, recipes, tables, the command line. It alone may import the others."""

from typing import Any

from experiments.own_packages import check_imported

check_imported()


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, because torch takes seconds (PEP 562)."""
    if name == "torchvision":
        from experiments.run.torchvision import import_torchvision

        return import_torchvision()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
