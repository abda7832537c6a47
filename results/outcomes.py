"""The outcomes of a record, from which its figure follows: which test images were right.

One fit has `right`, a bit for each image, in hexadecimal. R draws of labels have `right_draws`, a byte for each image:
the number of draws that got it right; and `accuracy_percent`, one value for each draw, rounded to 4 decimals.
"""

import statistics
from typing import Any

ROUNDED = 1e-4  # rounding of `accuracy_percent`: 0.00005 for a mean, twice that for 1.96 standard deviations
BAR = {"sd": 1.0, "1.96sd": 1.96}  # error bar, in standard deviations over the draws


def check(record: Any) -> None:
    """Raise ValueError if the outcomes of a `Record` contradict its value, error bar, n_test or n_runs."""
    found = record.outcomes
    if "right" in found:
        if record.n_runs != 1:
            raise ValueError(f"outcomes of {record.n_runs} runs must have right_draws, not right")
        bits = int.from_bytes(_bytes(found["right"], -(-record.n_test // 8), "right"), "big")
        if bits % 2 ** (-record.n_test % 8):
            raise ValueError(f"right must have a bit for each of {record.n_test} images, and zeros after them")
        _same("value", record.value, _figure(record, 100 * bits.bit_count() / record.n_test), 1e-9)
    if "right_draws" in found:
        counts = _bytes(found["right_draws"], record.n_test, "right_draws")
        if max(counts) > record.n_runs:
            raise ValueError(f"right_draws must be at most n_runs = {record.n_runs}, got {max(counts)}")
        _same("value", record.value, _figure(record, 100 * sum(counts) / record.n_test / record.n_runs), 1e-9)
    if "accuracy_percent" in found:
        draws = found["accuracy_percent"]
        if not isinstance(draws, list) or len(draws) != record.n_runs or not all(map(_percent, draws)):
            raise ValueError(f"accuracy_percent must be a list of {record.n_runs} percentages")
        _same("value", record.value, _figure(record, statistics.fmean(draws)), ROUNDED)
        if record.error_bar_kind in BAR and len(draws) > 1:
            _same("error_bar", record.error_bar, BAR[record.error_bar_kind] * statistics.stdev(draws), 2 * ROUNDED)


def _figure(record: Any, accuracy: float) -> float:
    return 100 - accuracy if record.metric == "error_percent" else accuracy


def _same(name: str, told: float, found: float, tolerance: float) -> None:
    if abs(told - found) > tolerance:
        raise ValueError(f"{name} must be {found:.6f}, which follows from the outcomes, got {told}")


def _bytes(text: object, length: int, name: str) -> bytes:
    """Return the bytes of a hexadecimal text. Raises ValueError if there are not `length` of them."""
    if not isinstance(text, str) or len(text) != 2 * length:
        raise ValueError(f"{name} must be {2 * length} hexadecimal digits")
    return bytes.fromhex(text)


def _percent(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value <= 100  # type: ignore[operator]
