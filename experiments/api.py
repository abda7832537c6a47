"""`experiments.evaluate`: measure a network in Python, as `dcgan-eval eval` does, on a named set or on own arrays."""

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

import features
import results
from experiments.commands.answers import figure, row_object
from experiments.measure import svm
from experiments.measure.labelled_images import BATCH, Labelled
from experiments.measure.measurement import recorded
from experiments.measure.protocols import (
    MIRRORED,
    OWN,
    PROTOCOLS,
    SUBSET,
    WITHOUT_LEAKED,
    WITHOUT_TRAIN,
    Protocol,
    parts_of,
    procedure,
)
from experiments.measure.records import eval_command, keep_record
from experiments.networks.contender import Contender
from experiments.networks.resolve import adopt, runnable
from experiments.run import console
from experiments.run.context import Run
from experiments.run.errors import UserError, closest
from experiments.run.files import check_writable
from results.lines import LINE

HELD = 5  # C is chosen on a fifth of the user's own training images
_HASHED = 1024  # images hashed at once


@dataclass(frozen=True)
class Row:
    """A measured row of a table; its repr is the line that `dcgan-eval eval` ends with.

    value: accuracy or error in percent, as `metric` says. interval: its 95 % interval (low, high), in percent.
    C: the chosen weight of the loss. run_id: names the record, for `dcgan-eval compare`.
    record: everything else that is known of the run.

    >>> import tempfile
    >>> x, y = np.zeros((60, 32, 32, 3), np.uint8), np.arange(60) % 2
    >>> x[y == 1] = 255
    >>> own = {"images": (x[:40], x[40:]), "labels": (y[:40], y[40:])}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     row = experiments.evaluate("pixels", "own/shades", **own, runs_root=folder)
    >>> row
    raw pixels + L2-SVM: 100.00 % (95 % 83.16-100.00), n 20, own/shades, run ...
    """

    method: str
    protocol: str
    metric: str
    value: float
    interval: tuple[float, float]
    n_test: int
    C: float
    run_id: str
    record: results.Record = field(repr=False)

    def __repr__(self) -> str:
        return figure(self.record)

    def _repr_html_(self) -> str:
        (low, high), percent = self.interval, f"{self.value:.2f}"
        shown = {"method": self.method, "protocol": self.protocol, self.metric: f"{percent} ({low:.2f} to {high:.2f})"}
        shown |= {"n_test": f"{self.n_test:,}", "C": f"{self.C:g}", "run_id": self.run_id}
        cells = (f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in shown.items())
        return f"<table>{''.join(cells)}</table>"


@dataclass(frozen=True)
class OwnSpec(svm.EvalSpec):
    """The spec of a figure on the user's own arrays. images, tested: numbers of training and test images."""

    images: int = 0
    tested: int = 0

    @property
    def rules(self) -> Protocol:
        """All labels are fitted at once; C is chosen on a stratified fifth of the training images."""
        return Protocol(OWN, OWN, self.images, self.tested, "accuracy_percent", self.images // HELD)


def evaluate(
    backbone: features.Backbone | nn.Module | str,
    protocol: str = svm.PROTOCOL,
    *,
    images: Sequence[np.ndarray] | None = None,
    labels: Sequence[ArrayLike] | None = None,
    name: str | None = None,
    data_root: str | os.PathLike[str] | None = None,
    runs_root: str | os.PathLike[str] | None = None,
    device: str | None = None,
    progress: bool = False,
) -> Row:
    """Fit an L2-SVM on a network's frozen features and score the test images once, as `dcgan-eval eval` does.

    backbone: a features.Backbone; an nn.Module that takes float32 [N, 3, 32, 32] in [-1, 1], with all its stages; or a
        name that `dcgan-eval eval` takes, such as "imagenet32-half". An object is copied, and not changed.
    protocol: as tables name it: cifar10/full, cifar10/subset-1000, svhn/1000-balanced, tiny-imagenet/200, ...,
        each also with -mirrored after it. For own arrays it is own/NAME, with a name of yours.
    images, labels: own arrays, each (training, test): uint8 [N, H, W, C] and [N]; two classes or more, of any type that
        sorts. Images are resized to the network's size. C is chosen on a stratified fifth of the training images.
    name: the method's name in tables, for a Backbone or an nn.Module (default: the name of the model's class).
    data_root, runs_root, device: folders and torch device (default: DATA_ROOT, RUNS_ROOT and DEVICE of the environment,
        else data/, runs/ and the best available). Features and the record are kept in runs_root; what was measured
        before, with the same weights, images and code, is answered from its record.
    progress: whether progress and notes are shown on standard error; else nothing is printed.
    Raises ValueError, with the fix, for whatever cannot be measured.

    >>> import numpy as np, tempfile, torch
    >>> from experiments import evaluate
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.integers(0, 56, (120, 32, 32, 3), dtype=np.uint8), np.arange(120) % 2
    >>> x[y == 1] += 200  # dark images and light ones
    >>> _ = torch.manual_seed(0)  # the network keeps its random weights
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 4, 4), torch.nn.ReLU())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     row = evaluate(net, "own/brightness", images=(x[:80], x[80:]), labels=(y[:80], y[80:]), runs_root=folder)
    >>> row.protocol, row.value, row.n_test
    ('own/brightness', 100.0, 40)
    """
    text, protocol = _method_name(backbone, name), str(protocol)
    if console.started() > 1:
        raise ValueError("experiments.evaluate runs in one process; start it without torchrun")
    spoken: dict[str, Any] = {"say": console.say, "progress": console.progress} if progress else {}
    try:
        parts = None if images is None and labels is None else _own_parts(images, labels)
        spec = _named_spec(text, protocol) if parts is None else _own_spec(text, protocol, parts)
        known = eval_command(text, protocol) if isinstance(backbone, str) else None
        run = Run(
            Path(data_root or os.environ.get("DATA_ROOT") or "data"),
            Path(runs_root or os.environ.get("RUNS_ROOT") or "runs"),
            device_name=device or os.environ.get("DEVICE") or "auto",
            command=known or ("experiments.evaluate", text, protocol),
            **spoken,
        )
        check_writable(run.own_records)
        contender = _contender(backbone, spec, run)
        records = recorded(svm.prepare(spec, run, contender=contender, parts=parts), run)
        for record in records:
            keep_record(run.own_records / f"{record.table}.jsonl", record, run)
    except UserError as error:
        raise ValueError(str(error)) from error
    return _row(records, protocol)


def _method_name(backbone: object, name: str | None) -> str:
    if isinstance(backbone, str):
        if name is not None:
            raise ValueError(f"a network that is named, {backbone!r}, keeps its name; leave name= out")
        return backbone
    name = type(getattr(backbone, "model", backbone)).__name__ if name is None else name
    if not LINE.holds(name) or results.portable(name, {}) != name:
        raise ValueError(f"name must {LINE.must}, and no path, got {name!r}")
    return name


def _named_spec(text: str, protocol: str) -> svm.EvalSpec:
    """Return the spec of a figure on a named set. Raises ValueError for a protocol that is not known."""
    usual, subset, mirrored = parts_of(protocol)
    if subset is not None:
        return svm.EvalSpec(text, subset=subset, mirrored=mirrored)
    if protocol in (WITHOUT_LEAKED, WITHOUT_TRAIN):
        return svm.EvalSpec(text)
    if usual not in PROTOCOLS:
        known = [*PROTOCOLS, WITHOUT_LEAKED, WITHOUT_TRAIN]
        written = ", ".join([*known, f"{SUBSET}1000"])
        fix = f"protocol must be one of {written}, or one of them with {MIRRORED}, got {protocol!r}"
        own = "; own/NAME needs images= and labels=" if usual.startswith(f"{OWN}/") else closest(usual, known)
        raise ValueError(fix + own)
    return svm.EvalSpec(text, protocol=usual, mirrored=mirrored)


def _own_spec(text: str, protocol: str, parts: tuple[Labelled, Labelled]) -> OwnSpec:
    """Return the spec of a figure on the user's own arrays."""
    usual, _, mirrored = parts_of(protocol)
    if not re.fullmatch(rf"{OWN}/[\w.-]+", usual):
        raise ValueError(f"the protocol of own arrays must be {OWN}/NAME, with a name of yours, got {protocol!r}")
    sizes = [len(part.images) for part in parts]
    return OwnSpec(text, protocol=usual, mirrored=mirrored, images=sizes[0], tested=sizes[1])


def _contender(backbone: features.Backbone | nn.Module | str, spec: svm.EvalSpec, run: Run) -> Contender:
    """Return the network, on the run's device. Raises ValueError if it cannot be measured on these images."""
    own = isinstance(spec, OwnSpec)
    if isinstance(backbone, str):
        if own and backbone.startswith("kmeans:"):
            raise ValueError("K-means features are learned from a named set's images; name a protocol of the tables")
        contender = runnable(backbone, run, layers=None, seed=spec.seed, data=None if own else spec.rules.data)
    else:
        contender = adopt(backbone, run, name=spec.backbone)
    fitted = spec.rules.images - spec.held_out
    if own and fitted < BATCH and any(isinstance(m, _BatchNorm) for m in contender.backbone.model.modules()):
        least = -(-BATCH * HELD // (HELD - 1))
        raise ValueError(f"a network with batch norm needs {least} training images or more, got {spec.rules.images}")
    return contender


def _own_parts(images: Sequence[np.ndarray] | None, labels: Sequence[ArrayLike] | None) -> tuple[Labelled, Labelled]:
    """Return the training and the test part of own arrays. Raises ValueError for what cannot be measured."""
    if images is None or labels is None or len(images) != 2 or len(labels) != 2:
        raise ValueError("images and labels must both be given, each as a pair (training, test)")
    arrays, given = [np.asarray(part) for part in images], [np.asarray(part) for part in labels]
    for part, array, of in zip(("training", "test"), arrays, given, strict=True):
        if array.dtype != np.uint8 or array.ndim != 4 or 0 in array.shape:
            got = f"{array.dtype} {list(array.shape)}"
            raise ValueError(f"{part} images must be uint8 [N, H, W, C], values 0 to 255, got {got}")
        if of.shape != array.shape[:1]:
            raise ValueError(f"{part} labels must be [{len(array)}], one for each image, got {list(of.shape)}")
    if len(arrays[0]) < HELD:
        raise ValueError(f"own arrays need {HELD} training images or more, since one is held out, got {len(arrays[0])}")
    try:
        classes, counts = np.unique(given[0], return_counts=True)
        unknown = np.setdiff1d(given[1], classes)
    except TypeError as error:
        raise ValueError(f"labels must be of one type that sorts, such as integers or text: {error}") from error
    if any(part.dtype.kind in "fc" and np.isnan(part).any() for part in given):
        raise ValueError("labels must be finite, got NaN; leave out images without a label")
    if len(classes) < 2:
        raise ValueError(f"training labels must hold at least two classes, got {classes.tolist()}")
    if counts.min() < 2:
        few = classes[counts.argmin()]
        raise ValueError(f"every class needs at least two training images, since one may be held out; {few!s} has one")
    if len(unknown):
        raise ValueError(f"every test label must be among the training labels, which lack {unknown.tolist()[:5]}")
    index = [np.searchsorted(classes, of).astype(np.int64) for of in given]
    return _labelled(arrays[0], index[0]), _labelled(arrays[1], index[1])


def _labelled(images: np.ndarray, labels: np.ndarray) -> Labelled:
    digest = hashlib.sha256(f"{images.shape}".encode() + labels.tobytes())
    for start in range(0, len(images), _HASHED):
        digest.update(images[start : start + _HASHED].tobytes())
    return Labelled(images, labels, digest.hexdigest())


def _row(records: Sequence[results.Record], protocol: str) -> Row:
    """Return the row of that protocol. Raises ValueError if no audit says what it leaves out."""
    record = next((r for r in records if procedure(r.protocol) == procedure(protocol)), None)
    if record is None:
        fix = "compare the training images with the test images: dcgan-eval dedup"
        raise ValueError(f"no audit says which test images {protocol} leaves out; {fix}")
    told = row_object(record)
    del told["processes"]
    return Row(**told | {"interval": tuple(told["interval"])}, record=record)
