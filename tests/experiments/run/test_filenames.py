"""Names of files: bytes that open the file, one line each, and text that any screen can show."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.run.filenames import raw, shown, written

NAMES = st.binary(min_size=1, max_size=12).filter(lambda name: not {0, ord("/")} & set(name)).map(os.fsdecode)


def unescaped(line: bytes) -> bytes:
    """Undo the three escapes from left to right, as a reader of our files would."""
    parts = line.split(rb"\\")
    return b"\\".join(part.replace(rb"\n", b"\n").replace(rb"\r", b"\r") for part in parts)


@given(NAMES)
def test_a_written_name_is_one_line_and_gives_the_name_back(name):
    line = written(name)
    assert b"\n" not in line and b"\r" not in line
    assert unescaped(line) == raw(name)
    assert os.path.normpath(raw(name)) == os.path.normpath(os.fsencode(name))
    assert line[:1] not in (b"=", b"+", b"-", b"@")


@pytest.mark.parametrize(
    "name", ["a\u202fb.png", "no\u00a0break.png", "👩\u200d🎨.png", "é.png", "e\u0301.png", "a b.png"]
)
def test_names_of_text_are_written_as_they_are(name):
    assert written(name) == raw(name) == name.encode()


def test_the_escapes_and_the_prefix():
    assert written("a\nb\r\\n.png") == rb"a\nb\r\\n.png"
    assert written("=1+1.png") == b"./=1+1.png" and written("sub/-rf.png") == b"sub/-rf.png"
    assert written(os.fsdecode(b"\xff\xe9.png")) == b"\xff\xe9.png"


@given(st.text() | NAMES)
def test_shown_text_can_be_printed_anywhere(text):
    assert shown(text).isprintable() and shown(text).encode().decode() == shown(text)
    assert shown(shown(text)) == shown(text)


def test_what_is_shown():
    assert shown("a é 👩.png") == "a é 👩.png"
    assert shown(os.fsdecode(b"\xff") + "\u202f\n\x1b[1m") == r"\xff\u202f\n\x1b[1m"
