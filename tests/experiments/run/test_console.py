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
        clock.items(5), total=768, desc="train x", unit="image", step=128, done=128, postfix=lambda: "generator 0.700"
    )
    assert list(shown) == [0, 1, 2, 3, 4]
    assert capsys.readouterr().err.splitlines() == [
        "train x: 384/768 images, 50 %, generator 0.700",  # after 20 s: at most one in 15; the first item tells no rate
        "train x: 640/768 images, 83 %, 12.8 images/s, 10 s left, generator 0.700",
        "train x: 640 images in 50 s",
    ]


def test_work_of_unknown_length_has_no_time_left(clock, capsys):
    list(console.progress(clock.items(4), total=None, desc="read", unit="file"))
    assert capsys.readouterr().err.splitlines() == [
        "read: 2 files",
        "read: 4 files, 0.1 files/s",
        "read: 4 files in 40 s",
    ]


def test_hours_are_said_as_hours(clock, capsys):
    list(console.progress(clock.items(4), total=2_000, desc="x", unit="batch"))
    assert "x: 4/2,000 batches, 0 %, 0.1 batches/s, 5 h 32 min left" in capsys.readouterr().err


def test_numbers_have_three_digits_and_no_powers_of_ten():
    numbers = (0, 0.05012, 12.84, 100, 1_998, 19_980.4)
    assert [console.rounded(number) for number in numbers] == ["0", "0.0501", "12.8", "100", "2,000", "20,000"]


def test_the_first_item_tells_no_time_left(clock, capsys):
    """The first of 1,000 takes an hour, in which work is prepared; the others come at once, in pairs."""

    def items():
        clock.now += 3600
        yield 0
        for _ in range(20):
            clock.now += 4
            yield from (0, 0)

    list(console.progress(items(), total=1_000, desc="x", unit="image"))
    first, second, *_ = capsys.readouterr().err.splitlines()
    assert first == "x: 1/1,000 images, 0 %"
    assert "left" in second and " h " not in second


def test_the_time_left_follows_the_rate_of_late(clock, capsys):
    """Half is kept from an earlier run and comes at once; the rest takes 10 s each."""

    def items():
        yield from [0] * 500
        yield from clock.items(40)

    list(console.progress(items(), total=1_000, desc="x", unit="image"))
    *_, late, _ = capsys.readouterr().err.splitlines()
    assert late.startswith("x: 540/1,000 images, 54 %, 0.1 images/s, 1 h 16 min left")


def test_a_total_that_was_too_small_is_not_shown(clock, capsys):
    list(console.progress(clock.items(6), total=3, desc="x", unit="fit"))
    lines = capsys.readouterr().err.splitlines()
    assert lines[:3] == ["x: 2/3 fits, 66 %", "x: 4 fits, 0.1 fits/s", "x: 6 fits, 0.1 fits/s"] and "-" not in lines[1]


def test_of_a_long_list_the_first_three_are_named():
    assert console.first_few(["a", "b", "c"]) == "a, b, c"
    assert console.first_few(["a", "b", "c", *1200 * "d"]) == "a, b, c and 1,200 more"


def test_nouns_are_counted():
    found = [
        console.counted(n, unit) for n, unit in [(1, "image"), (0, "image"), (2000, "batch"), (3, "pass"), (4, "MiB")]
    ]
    assert found == ["1 image", "0 images", "2,000 batches", "3 passes", "4 MiB"]


def test_what_is_said_and_answered_is_one_line_without_control_characters(clock, capsys):
    console.say("a\x1b[31m\nb\udcff")
    console.answer("c\rd", "\u202ee")
    list(console.progress(clock.items(2), total=2, desc="f\x07", unit="file"))
    shown = capsys.readouterr()
    assert shown.err.splitlines()[0] == r"a\x1b[31m\nb\xff" and shown.out == "c\\rd\n\\u202ee\n"
    assert r"f\x07: 2/2 files" in shown.err


def test_a_terminal_gets_a_bar(clock, monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    asked = []
    shown = console.progress(
        clock.items(4),
        total=640,
        desc="x",
        unit="image",
        step=128,
        done=128,
        postfix=lambda: asked.append(1) or "g 0.7",
    )
    assert list(shown) == [0, 1, 2, 3]
    assert "640/640 images" in terminal.getvalue() and "12.8 images/s, 10 s left, g 0.7" in terminal.getvalue()
    assert len(asked) == 4  # no more than one a second


def test_long_names_are_shortened_in_the_middle():
    assert console.shortened("abcdefghij", 10) == "abcdefghij"
    assert console.shortened("abcdefghij", 5) == "ab…ij" and console.shortened("abcdefghij", 4) == "a…ij"


def test_as_many_parts_are_joined_as_fit():
    assert console.joined(["abc", "de", "f"], 10) == "abc, de, f"
    assert console.joined(["abc", "de", "f"], 9) == "abc, de" and console.joined(["abcdef", "g"], 3) == "a…f"


def test_sizes_have_three_digits():
    assert [console.size(n) for n in (1, 999, 15_360, 7.34e6, 12.84e9)] == [
        *("1 byte", "999 bytes", "15.4 kB", "7.34 MB", "12.8 GB"),
    ]


def test_only_answers_reach_standard_output(capsys):
    with console.kept_for_answers():
        print("a note of a library")
        console.answer("the answer")
    print("after")
    assert capsys.readouterr() == ("the answer\nafter\n", "a note of a library\n")


def test_quietly_only_warnings_are_said(capsys):
    console.say_warnings("a note")
    console.say_warnings("warning: a loss")
    assert capsys.readouterr().err == "warning: a loss\n"


def test_a_shortened_answer_keeps_its_length_where_the_encoding_lacks_the_ellipsis(monkeypatch):
    for encoding, expected in (("ascii", "ab~ij\n"), ("utf-8", "ab…ij\n")):
        raw = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding, "backslashreplace"))
        console.answer(console.shortened("abcdefghij", 5))
        assert raw.getvalue().decode(encoding) == expected
