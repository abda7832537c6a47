"""The names of the data sets, as plain data, and the functions that make the sets."""

import itertools
import re
from typing import NamedTuple


class Family(NamedTuple):
    """Data sets of one kind.

    shown: their names, in short. pattern: a regular expression that matches their names. made_by: the function, written
    module:function, that takes the groups of the pattern and returns the `Dataset`.
    """

    shown: str
    pattern: str
    made_by: str


FAMILIES = (
    Family("cifar10-train|test", "cifar10-(train|test)", "experiments.data.sets.cifar10:Cifar10"),
    Family("svhn-train|test", "svhn-(train|test)", "experiments.data.sets.svhn:Svhn"),
    Family(
        "[fashion-]mnist[-test]-28|32|64", "(|fashion-)mnist-(|test-)(28|32|64)", "experiments.data.sets.mnist:named"
    ),
    Family("imagenet32-train|val", "imagenet32-(train|val)", "experiments.data.sets.imagenet32:ImageNet32"),
    Family("celeba-32|64", "celeba-(32|64)", "experiments.data.sets.photographs:celeba"),
    Family("lsun-CATEGORY-32|64", "lsun-([a-z0-9_]+)-(32|64)", "experiments.data.sets.photographs:lsun"),
    Family("tiny-imagenet-32|64", "tiny-imagenet-(32|64)", "experiments.data.sets.tiny_imagenet:named"),
    Family(
        "tiny-imagenet-train|test",
        "tiny-imagenet-(train|test)",
        "experiments.data.sets.tiny_imagenet_split:TinyImageNetPart",
    ),
)
NAMES = tuple(family.shown for family in FAMILIES)
"""The names, one text for each kind; any folder in DATA_ROOT/packed or RUNS_ROOT/packed is a set too."""

KNOWN = tuple(
    "".join(parts)
    for family in FAMILIES
    if "[" not in family.pattern  # LSUN's categories are not known here
    for parts in itertools.product(*(part.split("|") for part in re.split("[()]", family.pattern)))
)
"""Every name in full."""


def is_name(name: str) -> bool:
    """Whether `name` is the name of a set of a known kind, available or not."""
    return any(re.fullmatch(family.pattern, name) for family in FAMILIES)
