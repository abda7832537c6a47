"""torchvision, importable beside a torch it was not built for.

torchvision's Linux wheel beside a CPU-only torch cannot load its compiled operators, and its import then
fails where it registers shapes for `torchvision::nms` and `torchvision::qnms` (pytorch/vision issue 9085).
Declaring the two is enough for data sets and transforms. Where the operators load, nothing is declared.
"""

import contextlib
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_declared: list[Any] = []  # a library object that is collected takes its operators along


def import_torchvision(module: str = "torchvision") -> ModuleType:
    """Import torchvision, or a module of it ("torchvision.datasets"). Raises ImportError without one."""
    import torch  # here, not above: torch takes seconds, and most runs find their data without torchvision

    spec = importlib.util.find_spec("torchvision")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for path in sorted(Path(folder).glob("_C*")):  # as torchvision itself does; a second load does nothing
            with contextlib.suppress(OSError, ImportError):  # built for another torch: what this module is for
                torch.ops.load_library(path)
    if not hasattr(torch.ops.torchvision, "nms"):
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(name + SCHEMA)
        _declared.append(library)
    return importlib.import_module(module)
