"""Composition: data sets by name, recipes, tables, the command line. It alone may import the others."""

from typing import TYPE_CHECKING

from experiments.own_packages import check_imported

__all__ = ["Row", "evaluate"]

check_imported()

if TYPE_CHECKING:
    from types import ModuleType

    from experiments.api import Row, evaluate

    __version__: str
    torchvision: ModuleType
else:  # type checkers know the names above, and so report any other

    def __getattr__(name: str) -> object:
        """Return a public name, imported when it is first used, because torch takes seconds (PEP 562)."""
        if name in __all__:
            from experiments import api

            return getattr(api, name)
        if name == "__version__":
            from importlib.metadata import version

            return version("dcgan-eval")
        if name == "torchvision":
            from experiments.run.torchvision import import_torchvision

            return import_torchvision()
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
