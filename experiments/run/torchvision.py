"""torchvision, importable beside a torch it was not built for.

torchvision's Linux wheel beside a CPU-only torch cannot load its compiled operators, and its import then
fails where it registers shapes for `torchvision::nms` and `torchvision::qnms` (pytorch/vision issue 9085).
Declaring the two is enough for data sets and transforms. Where the operators load, nothing is declared.
"""

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_declared: list[Any] = []  # a library object that is collected takes its operators along


def import_torchvision(module: str = "torchvision") -> ModuleType:
    """Import torchvision, or a module of it ("torchvision.datasets"). Raises ImportError without one."""
    import torch  # here, not above: torch takes seconds, and most runs find their data without torchvision

    _load_compiled(torch.ops.load_library)
    if not hasattr(torch.ops.torchvision, "nms"):
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(name + SCHEMA)
        _declared.append(library)
    return importlib.import_module(module)


def _load_compiled(load: Callable[[Path], None]) -> None:
    """Load the compiled operators as torchvision's own import does; a second load of a file does nothing."""
    spec = importlib.util.find_spec("torchvision")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for path in sorted(Path(folder).glob("_C*")):
            try:
                load(path)
            except (OSError, ImportError):  # built for another torch: what this module is for
                continue
