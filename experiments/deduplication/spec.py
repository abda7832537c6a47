"""What a de-duplication pass is: method and radius."""

from dataclasses import dataclass

import dedup

HASHES = {"phash": dedup.phash, "dhash": dedup.dhash, "ahash": dedup.ahash}
METHODS = ("near-duplicates", *HASHES, "semantic")
COSTS = {  # in words, of 100,000 images of 32x32 on two cores
    "near-duplicates": "takes a minute or two for 100,000 images, and grows with the product of the sets' sizes",
    **dict.fromkeys(HASHES, "takes seconds for 100,000 images"),
    "semantic": "learns a code first, in about a minute whatever the number of images",
}


@dataclass(frozen=True)
class DedupSpec:
    """The de-duplication pass: what makes two images the same; of each group of such images one stays.

    method: "near-duplicates", the calibrated pass (`dedup.near_duplicates`); a perceptual hash ("phash", "dhash",
    "ahash") within `radius`; or "semantic", the paper's code, learnt from the images and equal.
    """

    method: str = "near-duplicates"
    radius: int | None = None  # bits of 64, of the hashes alone; 4 where none is given

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"unknown method {self.method!r}; the methods are {', '.join(METHODS)}")
        if self.method not in HASHES:
            if self.radius is not None:
                raise ValueError(f"{self.method} takes no radius; leave it out, or name one of {', '.join(HASHES)}")
            return
        if self.radius is None:
            object.__setattr__(self, "radius", 4)
        elif not isinstance(self.radius, int) or isinstance(self.radius, bool) or not 0 <= self.radius < 64:
            raise ValueError(f"radius must be an integer in [0, 63], got {self.radius!r}")

    def __str__(self) -> str:
        return self.method if self.radius is None else f"{self.method} at radius {self.radius}"
