"""What a person sees of long work, on a terminal and elsewhere."""

import io
import sys

import pytest

from experiments.run import console


class Clock:
    """Ten seconds pass with every item."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now

    def items(self, n):
        for i in range(n):
            self.now += 10
            yield i


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(console, "time", clock)
    return clock


def test_plain_lines_tell_rate_losses_and_time_left(clock, capsys):
    shown = console.progress(
        clock.items(4), total=640, desc="train x", unit="image", step=128, done=128, postfix=lambda: "generator 0.700"
    )
    assert list(shown) == [0, 1, 2, 3]
    assert capsys.readouterr().err.splitlines() == [
        "train x: 384/640 image, 60 %, 12.8 image/s, 20 s left, generator 0.700",  # after 20 s: at most one in 15
        "train x: 640/640 image, 100 %, 12.8 image/s, 0 s left, generator 0.700",
        "train x: 512 image in 40 s",
    ]


def test_work_of_unknown_length_has_no_time_left(clock, capsys):
    list(console.progress(clock.items(3), total=None, desc="read", unit="file"))
    assert capsys.readouterr().err.splitlines() == ["read: 2 file, 0.1 file/s", "read: 3 file in 30 s"]


def test_hours_are_said_as_hours(clock, capsys):
    list(console.progress(clock.items(2), total=2_000, desc="x", unit="step"))
    assert "5 h 33 min left" in capsys.readouterr().err


def test_a_terminal_gets_a_bar(clock, monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    asked = []
    shown = console.progress(
        clock.items(3),
        total=512,
        desc="x",
        unit="image",
        step=128,
        done=128,
        postfix=lambda: asked.append(1) or "g 0.7",
    )
    assert list(shown) == [0, 1, 2]
    assert "512/512" in terminal.getvalue() and "image/s" in terminal.getvalue() and "g 0.7" in terminal.getvalue()
    assert len(asked) == 3  # no more than one a second
