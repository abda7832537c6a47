"""Import torchvision, even with a torch that it was not built for.

With a CPU-only torch, torchvision's Linux wheel cannot load its compiled operators. Its import then fails where it
registers shapes for `torchvision::nms` and `torchvision::qnms` (pytorch/vision issue 9085). Declaring these two
operators is enough for data sets and transforms. If the compiled operators load, nothing is declared.
"""

import contextlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_declared: list[Any] = []  # the operators exist only as long as their library object does


def import_torchvision(module: str = "torchvision") -> ModuleType:
    """Import torchvision, or one of its modules ("torchvision.datasets"). Raises ImportError if it is not installed."""
    declare_operators()
    return importlib.import_module(module)


def declare_operators() -> None:
    """Let any later `import torchvision` succeed, in the user's code too. Nothing happens if it is not installed."""
    if "torchvision" in sys.modules or (spec := importlib.util.find_spec("torchvision")) is None:
        return
    import torch  # here, not above: torch takes seconds, and most runs find their data without torchvision

    for folder in spec.submodule_search_locations or []:
        for path in sorted(Path(folder).glob("_C*")):  # as torchvision itself does; a second load does nothing
            with contextlib.suppress(OSError, ImportError):  # built for another torch
                torch.ops.load_library(path)
    if not hasattr(torch.ops.torchvision, "nms"):
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(name + SCHEMA)
        _declared.append(library)
