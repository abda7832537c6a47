"""The settings of a de-duplication pass: its method and its radius. It imports little, since `--help` imports it."""

import dataclasses
from dataclasses import dataclass
from typing import Any

HASHES = ("phash", "dhash", "ahash")  # functions of the package `dedup`
METHODS = {  # name -> its cost in words, for images of 32x32 on two cores
    "near-duplicates": "takes a minute or two for 100,000 images, and grows with the product of the sets' sizes",
    **dict.fromkeys(HASHES, "takes seconds for 100,000 images"),
    "semantic": "learns a code first, in about a minute for any number of images",
}


@dataclass(frozen=True)
class DedupSpec:
    """What makes two images the same for a pass, which keeps one image of each group.

    method: "near-duplicates", the calibrated pass (`dedup.near_duplicates`); "phash", "dhash" or "ahash", perceptual
    hashes that differ in at most `radius` bits; or "semantic", the paper's code, learnt from the images, which is equal
    for images that are the same.
    radius: bits of 64, in [0, 63]. Only the hashes take one; their default is 4.
    turned: whether copies that are turned by quarter turns or mirrored count, too. Only the hashes find them.

    Raises ValueError for an unknown method, and for a radius or turned copies with a method that does not take them.
    """

    method: str = "near-duplicates"
    radius: int | None = None
    turned: bool = False

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"unknown method {self.method!r}; the methods are {', '.join(METHODS)}")
        if self.method not in HASHES:
            if self.turned:
                raise ValueError(
                    f"{self.method} does not find turned copies; name one of {', '.join(HASHES)}, as in --method phash"
                )
            if self.radius is not None:
                raise ValueError(f"{self.method} takes no radius; leave it out, or name one of {', '.join(HASHES)}")
        elif self.radius is None:
            object.__setattr__(self, "radius", 4)
        elif type(self.radius) is not int or not 0 <= self.radius < 64:
            raise ValueError(f"radius must be an integer in [0, 63], got {self.radius!r}")

    def __str__(self) -> str:
        if self.radius is None:
            return self.method
        return f"{self.method} at radius {self.radius}" + (", turned and mirrored copies too" if self.turned else "")

    @property
    def values(self) -> dict[str, Any]:
        """The settings for summaries and digests. `turned` is left out if it is false, as in files from before it."""
        values = dataclasses.asdict(self)
        return values if self.turned else {name: value for name, value in values.items() if name != "turned"}
