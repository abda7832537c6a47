"""How long loops report: through a callback of the caller's, which passes their items through."""

from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Progress(Protocol):
    """Passes the items of `iterable` through while telling a person how far the loop is (tqdm's signature)."""

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

        total: their number where it is known, in units. unit: the name of one. step: the units that an item stands
        for. done: the units of `total` that were done before. postfix: what to show besides; it is called only then.
        """
        ...


def silent(
    iterable: Iterable[T],
    *,
    total: int | None,
    desc: str,
    unit: str,
    step: int = 1,
    done: int = 0,
    postfix: Callable[[], str] | None = None,
) -> Iterable[T]:
    """The items, and not a word."""
    return iterable
