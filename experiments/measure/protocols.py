"""The protocols of the tables as data: the labelled set, the number of labels, how C is chosen, the error bar."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from experiments.run.errors import UserError, closest


@dataclass(frozen=True)
class FewLabels:
    """Draws of labelled rows, either `per_class` rows of each class or `size` rows of any class.

    select: number of draws that choose C, scored on the held-out rows; 0 chooses C by 5-fold cross-validation on the
        training rows.
    score: number of fresh draws that are scored on the test images.
    """

    per_class: int | None = None
    size: int | None = None
    select: int = 10
    score: int = 100


@dataclass(frozen=True)
class Protocol:
    """How a figure is measured.

    data: the labelled set, whose parts are `<data>-train` and `<data>-<test>`. images, tested: how many images they
    must have, near-duplicates that were removed from the training part counted.
    holdout: the number of training images on which C, or the trial, is chosen; they never calibrate batch norm.
    grid: the values of C; the solver's default if empty. few: None if all labels are fitted at once.
    bar: the kind of error bar over draws. classes: with more than ten, there is a row of the top-5 accuracy too.
    choice: the number of training images, those held out among them, that choose C; 0 for all.
    known_in: regular expression of the sets that hold photographs of this one; a network that was trained on one of
        them is measured by the protocol of the same name with SEEN.
    """

    table: str
    data: str
    images: int
    tested: int
    metric: str
    holdout: int
    grid: tuple[float, ...] = ()
    few: FewLabels | None = None
    bar: str = "sd"
    classes: int = 10
    choice: int = 0
    test: str = "test"
    known_in: str = ""

    @property
    def parts(self) -> tuple[str, str]:
        """The names of the training and the test part."""
        return f"{self.data}-train", f"{self.data}-{self.test}"

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics of the rows of one scoring, the main one first."""
        return (self.metric, TOP5) if self.classes > 10 else (self.metric,)

    @property
    def overlap(self) -> float:
        """Expected share of a draw's labelled rows that are also in another draw: rows drawn / rows drawn from."""
        if self.few is None:
            return 0.0
        return (self.few.size or self.classes * (self.few.per_class or 0)) / (self.images - self.holdout)


TOP5 = "top5_accuracy_percent"  # the true class is among the five of the highest scores
SEEN = "-seen-unlabelled"  # after a protocol's name: the network was trained on the photographs, without labels
CIFAR10 = ("cifar10", "cifar10", 50_000, 10_000, "accuracy_percent")
SVHN = ("svhn", "svhn", 73_257, 26_032, "error_percent")
SVHN_PART = ("svhn", "svhn", 1_083, 6_001, "error_percent")  # the first digits of each file
SVHN_GRID = (1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2)  # the authors' code
TINY_IMAGENET = Protocol(
    *("tiny-imagenet", "tiny-imagenet", 90_000, 10_000, "accuracy_percent", 4_000),
    classes=200,
    choice=20_000,
    known_in=r"(tiny-imagenet|imagenet32)-\w+",
)
IMAGENET32 = replace(
    TINY_IMAGENET,
    table="imagenet32",
    data="imagenet32",
    images=1_281_167,
    tested=50_000,
    classes=1_000,
    test="val",
)
PROTOCOLS = {
    "cifar10/full": Protocol(*CIFAR10, 10_000),
    "cifar10/400-per-class": Protocol(*CIFAR10, 10_000, few=FewLabels(per_class=400, select=3, score=10)),
    "svhn/1000-balanced": Protocol(*SVHN, 10_000, SVHN_GRID, FewLabels(per_class=100), "1.96sd"),
    "svhn/1000-of-1083": Protocol(*SVHN_PART, 0, SVHN_GRID, FewLabels(size=1_000, select=0), "1.96sd"),
    f"tiny-imagenet/200{SEEN}": TINY_IMAGENET,  # the first, since it claims less; `of_contender` names the other
    "tiny-imagenet/200": TINY_IMAGENET,
    f"imagenet32/1000{SEEN}": IMAGENET32,
    "imagenet32/1000": IMAGENET32,
}
SUPERVISED = {  # for networks trained only with the labels; every trial uses the same draw
    "svhn/supervised-1000": Protocol(*SVHN, 10_000, few=FewLabels(per_class=100, select=1, score=1)),
    "svhn/supervised-of-1083": Protocol(*SVHN_PART, 200),
}
TABLES = tuple(dict.fromkeys(protocol.table for protocol in PROTOCOLS.values()))
LEADERBOARD, ABLATION = "leaderboard", "ablation"  # tables that no TOML describes
OWN = "own"  # the table of figures on the user's own arrays, and the beginning of their protocols
BATCHNORM = ("calibrated", "running", "batch")  # ways to evaluate batch norm; the first is the paper's
CLASSIFIERS = ("l2-svm", "k-nn")
STORES = ("float32", "float16")  # types in which features are stored; the first is what the network gives
MIRRORED = "-mirrored"  # after a protocol's name: features are means over an image and its mirror image
WITHOUT_LEAKED = "cifar10/full-without-leaked"  # these two are computed from the scoring of cifar10/full
WITHOUT_TRAIN = "cifar10/full-without-train-duplicates"
SUBSET = "cifar10/subset-"  # before the number of training images of a quick look


def parts_of(protocol: str) -> tuple[str, int | None, bool]:
    """Return a protocol's name without MIRRORED, the size of its subset (None if whole), and whether it is mirrored."""
    usual = protocol.removesuffix(MIRRORED)
    subset = re.fullmatch(rf"{SUBSET}(\d+)", usual)
    return usual, int(subset[1]) if subset else None, usual != protocol


def procedure(protocol: str) -> str:
    """Return the protocol's name without SEEN: networks of one procedure are measured alike and can be compared."""
    return protocol.replace(SEEN, "")


def protocol_of(table: str, name: str | None, protocols: Mapping[str, Protocol] = PROTOCOLS) -> str:
    """Return that name, or the table's first among `protocols`. Raises UserError if the table has no such protocol."""
    known = [name for name, protocol in protocols.items() if protocol.table == table]
    kind = "for supervised: networks" if protocols is SUPERVISED else "for features"
    if not known:
        raise UserError(f"table {table} has no protocol {kind}; choose --table {next(iter(protocols.values())).table}")
    if name is not None and name.removesuffix(MIRRORED) in known and name not in known:
        raise UserError(f"write --protocol {name.removesuffix(MIRRORED)} --mirrored for {name}")
    if name is not None and name not in known:
        raise UserError(
            f"table {table} has no protocol {name!r}; {kind} it has {', '.join(known)}{closest(name, known)}"
        )
    return name or known[0]


def check_images(name: str, images: int, tested: int, protocols: Mapping[str, Protocol] = PROTOCOLS) -> None:
    """Raise UserError if the labelled set does not have the numbers of images that the protocol requires."""
    wanted = protocols[name]
    if (images, tested) == (wanted.images, wanted.tested):
        return
    sizes = [other for other, p in protocols.items() if (p.data, p.images, p.tested) == (wanted.data, images, tested)]
    fix = f"choose --protocol {sizes[0]}, a separate row" if sizes else "put the official files in DATA_ROOT"
    raise UserError(
        f"{name} takes {wanted.images:,} training and {wanted.tested:,} test images of {wanted.data}, "
        f"but there are {images:,} and {tested:,}; {fix}"
    )
