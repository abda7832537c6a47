"""The packages that `experiments` imports are its own: a `features.py` beside a notebook would hide ours."""

import importlib.util
import os
import sys

PACKAGES = ("gan", "features", "evaluation", "dedup", "results")
PROGRAMS = ("-m", "dcgan-eval")  # how argv begins in a process that __main__ checks, once its import path is in order


def check_imported() -> None:
    """Call `check`, unless `__main__` will."""
    if os.path.basename(sys.argv[0] if sys.argv else "") not in PROGRAMS:
        check()


def check() -> None:
    """Raise ImportError if `import NAME` gives what does not lie beside `experiments`. Nothing is imported."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # maybe inside a zip
    for name in PACKAGES:
        found = _place(name)
        if os.path.realpath(os.path.dirname(found)) != os.path.realpath(os.path.join(root, name)):
            fix = "rename it, or start Python in another folder" if found else "install dcgan-eval again"
            raise ImportError(f"{found or 'nothing'} is imported as {name}, a package of dcgan-eval: {fix}")


def _place(name: str) -> str:
    """Return the file that `import name` gives, or the folder if that has no `__init__.py`; "" if there is none."""
    if name in sys.modules:
        spec, file = getattr(sys.modules[name], "__spec__", None), getattr(sys.modules[name], "__file__", None)
    else:
        spec, file = importlib.util.find_spec(name), None
    if spec is None:
        return file or (f"sys.modules[{name!r}]" if name in sys.modules else "")
    return file or (
        spec.origin if spec.has_location else next(iter(spec.submodule_search_locations or ()), spec.origin)
    )
