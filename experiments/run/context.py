"""The run of a command: its folders, its device, and how it speaks to a person. The command line makes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.run.console import WARNING
from experiments.run.errors import UserError, one_line
from experiments.run.progress import Progress, silent

if TYPE_CHECKING:
    import torch

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results"


def in_clone() -> bool:
    """Whether this code lies in a clone of the project, whose results/ may change, and not among installed packages."""
    described = ROOT / "pyproject.toml"
    return described.is_file() and 'name = "dcgan-eval"' in described.read_text(encoding="utf-8", errors="replace")


def _say_nothing(text: str) -> None:
    pass


@dataclass(frozen=True)
class Run:
    """What functions of `experiments` need to know about the run that they belong to. The libraries never see it.

    data_root: folder of the official files, which are only read. runs_root: folder of downloads, packed sets, features,
    training runs, and the user's own records and tables. results: folder of the committed records and tables.
    device_name: a torch device, or "auto" for the best one available. command: the command line as typed.
    say: shows a person one line. progress: passes the items of a long loop through and shows how far the loop is.
    """

    data_root: Path
    runs_root: Path
    results: Path = RESULTS
    device_name: str = "cpu"
    command: tuple[str, ...] = ()
    say: Callable[[str], None] = _say_nothing
    progress: Progress = silent

    def warn(self, text: str) -> None:
        """Say one line that is shown even with --quiet."""
        self.say(f"{WARNING}{text}")

    @cached_property
    def device(self) -> torch.device:
        """The device, tested when it is first used. Raises UserError if it cannot be used."""
        import torch  # imported here because it takes seconds, and many commands never compute

        name = self.device_name
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            device = torch.device(name)
            torch.ones(1, device=device).item()  # a device without data, meta, has no number to return
        except (RuntimeError, AssertionError, ImportError, TypeError, ValueError) as error:
            raise UserError(f"device {name!r} cannot be used; set DEVICE=cpu ({one_line(error)[:120]})") from error
        return device

    @property
    def records(self) -> Path:
        """The folder of the committed records, with one JSON Lines file for each table."""
        return self.results / "runs"

    @property
    def own_records(self) -> Path:
        """The folder of the user's own records."""
        return self.runs_root / "records"

    @property
    def tables(self) -> Path:
        """The folder of the committed tables."""
        return self.results / "tables"

    @property
    def audits(self) -> tuple[Path, Path]:
        """The folders of leakage audits: the committed ones, and the user's own."""
        return self.results / "leakage", self.runs_root / "leakage"

    def portable(self, value: Any) -> Any:
        """Return `value` (nested JSON values) with $DATA_ROOT, $RUNS_ROOT and . in place of the machine's folders."""
        from results import portable  # imported here because it imports the whole library

        return portable(value, {"$DATA_ROOT": self.data_root, "$RUNS_ROOT": self.runs_root, ".": ROOT})
