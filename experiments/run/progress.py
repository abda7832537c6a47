"""How long loops of the data sets report: through a callback of the caller's, by default not at all."""

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

__all__ = ["Progress", "follow"]

T = TypeVar("T")


class Progress(Protocol):
    """Passes the items of `iterable` through while telling a person how far it is (tqdm's signature)."""

    def __call__(self, iterable: Iterable[T], *, total: int | None, desc: str, unit: str) -> Iterable[T]:
        """Return the items, in order; `total` is their number where known, `unit` the name of one."""
        ...


def follow(progress: Progress | None, iterable: Iterable[T], *, total: int | None, desc: str, unit: str) -> Iterator[T]:
    """Iterate over `iterable`, through `progress` where there is one."""
    return iter(iterable if progress is None else progress(iterable, total=total, desc=desc, unit=unit))
