"""Trackers: what is told of every look at a run, in addition to `epochs.csv`.

TensorBoard's event files are written into the run's folder if the package `tensorboard` is installed. A session writes
them anew from `epochs.csv`, so that a run that goes on, even after a kill, has every point once. Any other tracker is
attached by one function, see `Factory`. A tracker that fails is left out with a warning: it never stops the training.
"""

import dataclasses
import importlib.util
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from experiments.networks.factories import load_function
from experiments.run.context import Run
from experiments.run.errors import UserError, one_line
from experiments.training.monitor import Monitor
from experiments.training.recipe import Recipe
from features.errors import contained

SUFFIX = ".dcgan-eval"  # of the event files; those of others in the folder stay
Track = Callable[[int, Mapping[str, float], Path | None], None]
"""Called after every look, with the step, the numbers of its line in `epochs.csv` (NaN where there is none) and the
PNG of its grid of samples, or None if that is gone."""
Factory = Callable[[Path, Mapping[str, Any]], Track]
"""Called once a session, before the first step, with the run's folder and its recipe as JSON values."""


def load_tracker(text: str) -> Factory:
    """Return the function that `file.py:function` or `module:function` names. Raises UserError if there is none."""
    where, _, name = text.rpartition(":")
    if not where or not name.isidentifier():
        raise UserError(f"--tracker takes file.py:function or module:function, got {text!r}")
    try:
        with _in_its_place():
            found = load_function(where, name)
    except Exception as error:  # the user's code can raise anything
        raise UserError(f"cannot load the tracker {text}: {one_line(error)}") from error
    if not callable(found):
        raise UserError(f"the tracker {text} must be a function, got {type(found).__name__}")
    return found


@contextmanager
def attached(factory: Factory | None, recipe: Recipe, monitor: Monitor, run: Run) -> Iterator[Track]:
    """Yield one function that tells all trackers of a look at the monitor's run.

    Raises UserError if the factory fails or returns something else than a function.
    """
    tracks = []
    if factory is not None:
        tracks.append(_shielded("the tracker", _made(factory, recipe, monitor.out, run), run))
    events = _event_files(monitor, run)
    if events is not None:
        tracks.insert(0, _shielded("TensorBoard", events, run))  # before the user's code can move the grid

    def track(step: int, row: Mapping[str, float], grid: Path | None) -> None:
        for each in tracks:
            each(step, dict(row), grid)

    try:
        yield track
    finally:
        if events is not None:
            events.close()


class EventFiles:
    """TensorBoard's event files of a run, in its folder: a scalar for each column of `epochs.csv`, and the grid.

    Making one removes those of earlier sessions. A value that is not finite leaves a gap.
    """

    def __init__(self, out: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter  # imported here because it takes a quarter of a second

        for earlier in out.glob(f"events.out.tfevents.*{SUFFIX}"):
            earlier.unlink()
        # purge_step: a TensorBoard that is open forgets the points of the files removed
        self._writer = SummaryWriter(str(out), purge_step=0, filename_suffix=SUFFIX)

    def __call__(self, step: int, row: Mapping[str, float], grid: Path | None) -> None:
        """Add the look at a step, see `Track`; it is on disk when this returns."""
        when = grid.stat().st_mtime if grid else time.time()
        for name, value in row.items():
            if name != "step" and math.isfinite(value):
                self._writer.add_scalar(name, value, step, walltime=when)
        if grid:
            with Image.open(grid, formats=["PNG"]) as picture:
                samples = np.asarray(picture)
            form = "HW" if samples.ndim == 2 else "HWC"
            self._writer.add_image("samples", samples, step, walltime=when, dataformats=form)
        self._writer.flush()

    def close(self) -> None:
        """Close the files, also after a failure."""
        with suppress(Exception):
            self._writer.close()


@contextmanager
def _in_its_place() -> Iterator[None]:
    """Let the user's code run: it neither ends the program nor leaves it in another folder or without gradients."""
    with chdir("."), torch.set_grad_enabled(torch.is_grad_enabled()), contained("its code"):
        yield


def _made(factory: Factory, recipe: Recipe, out: Path, run: Run) -> Track:
    try:
        with _in_its_place():
            track = factory(out, run.portable(dataclasses.asdict(recipe)))
    except Exception as error:
        raise UserError(f"the tracker cannot begin: {one_line(error)}; mend it, or leave --tracker out") from error
    if not callable(track):
        raise UserError(f"the tracker must return a function track(step, row, grid), got {type(track).__name__}")
    return track


def _event_files(monitor: Monitor, run: Run) -> EventFiles | None:
    """Return event files that hold the looks so far; None if tensorboard is not installed, or with a warning."""
    if importlib.util.find_spec("tensorboard") is None:
        return None
    events = None
    try:
        events = EventFiles(monitor.out)
        for look in monitor.history():
            events(*look)
    except Exception as error:  # whatever is wrong with the installed tensorboard, or with an old grid
        run.warn(f"no event files for TensorBoard are written ({one_line(error)})")
        if events is not None:
            events.close()
        return None
    return events


def _shielded(name: str, track: Track, run: Run) -> Track:
    """Return a function that calls `track` until it fails; then it warns once."""
    failed = False

    def shielded(step: int, row: Mapping[str, float], grid: Path | None) -> None:
        nonlocal failed
        if failed:
            return
        try:
            with _in_its_place():
                track(step, row, grid)
        except Exception as error:  # the user's code can raise anything
            failed = True
            run.warn(f"{name} failed at step {step} ({one_line(error)}); training goes on without it")

    return shielded
