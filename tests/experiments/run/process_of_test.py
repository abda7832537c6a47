"""`dcgan-eval` on a made-up CIFAR-10, in a process that may kill itself: what `test_several_processes` starts.

Of the environment it reads DIGESTS, those of the sets; LOG, a file that gets a line for each batch of features written;
DIE, such as `1 write 5` or `0 fit_selected 1`: the process of that rank kills itself at that call; CHOICE, the number
of rows that choose C, if not all. Draws are few and small.
"""

import dataclasses
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main() -> int:
    import evaluation
    import features
    from evaluation.rows import Rows
    from experiments.__main__ import main
    from experiments.data.sets import cifar10
    from experiments.measure.protocols import PROTOCOLS, FewLabels

    cifar10.SHA256.update(json.loads(os.environ["DIGESTS"]))
    few = {"images": 2600, "tested": 520, "holdout": 400, "few": FewLabels(per_class=20, select=2, score=3)}
    changes: dict[str, dict[str, Any]] = {"cifar10/400-per-class": few}
    if choice := os.environ.get("CHOICE"):
        changes["cifar10/full"] = {"choice": int(choice)}
    for protocol, change in changes.items():
        PROTOCOLS[protocol] = dataclasses.replace(PROTOCOLS[protocol], **change)
    noted(features.FeatureStore, "write")
    noted(evaluation, "fit_selected")
    noted(Rows, "there_and_back")
    return main()


def noted(owner: Any, name: str) -> None:
    """Log the calls of a function, and die at the one that DIE names."""
    function: Callable[..., Any] = getattr(owner, name)
    rank = os.environ.get("RANK", "0")
    calls = 0

    def called(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if os.environ.get("DIE") == f"{rank} {name} {calls}":
            os.kill(os.getpid(), signal.SIGKILL)
        with Path(os.environ["LOG"]).open("a") as log:
            log.write(f"{rank} {name}\n")
        return function(*arguments, **options)

    setattr(owner, name, called)


if __name__ == "__main__":
    sys.path.insert(0, os.environ["PROJECT"])
    sys.exit(main())
