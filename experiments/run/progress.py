"""The callback through which long loops report progress: the caller gives it, and it passes the items through."""

from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Progress(Protocol):
    """Passes the items of `iterable` through and shows a person how far the loop is (tqdm's signature)."""

    def __call__(
        self,
        iterable: Iterable[T],
        *,
        total: int | None,
        desc: str,
        unit: str,
        step: int = 1,
        done: int = 0,
        postfix: Callable[[], str] | None = None,
    ) -> Iterable[T]:
        """Return the items, in order.

        total: the number of units in all, if known. unit: the name of one unit. step: the number of units in an item.
        done: the units of `total` that were done before. postfix: returns further text; called only when it is shown.
        """
        ...


def silent(iterable: Iterable[T], **_: object) -> Iterable[T]:
    """Return the items, and show nothing."""
    return iterable
