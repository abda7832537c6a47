"""Errors of a user's network on one line, with the user's own line; what would end the program becomes an error."""

import pytest
import torch
from torch import nn

from features.errors import blamed, contained, one_line

USERS = "from torch import nn\ndef run(x):\n    return nn.Linear(2, 2)(x)\n"


def raised_by(source, file="mine.py", argument=None):
    there = {"__name__": "_backbone_mine"}
    exec(compile(source, f"/somewhere/{file}", "exec"), there)  # the file's own name stands in the traceback
    with pytest.raises(BaseException) as told:
        there["run"](argument)
    error = told.value
    while error.__traceback__.tb_frame.f_code.co_filename == __file__:
        error.__traceback__ = error.__traceback__.tb_next
    return error


def test_the_deepest_line_of_the_users_own_files_is_shown():
    assert one_line(raised_by(USERS, argument=torch.ones(3))).endswith(" (mine.py:3)")
    assert one_line(raised_by("def run(x):\n    raise KeyError\n")) == "KeyError (mine.py:2)"


def test_long_and_broken_texts_are_one_line():
    assert one_line(ValueError("a\n  b" + "c" * 300)) == f"ValueError: a b{'c' * 197}..."

    class Mute(Exception):
        def __str__(self):
            raise RuntimeError

    assert one_line(Mute()) == "Mute"


def test_only_what_would_end_the_program_is_turned_into_an_error():
    told = r"^forward raises SystemExit: 3 .*, which would end the program; remove that$"
    with pytest.raises(ValueError, match=told), contained("forward"):
        raise SystemExit(3)
    for kept in (KeyboardInterrupt, RuntimeError, StopIteration):
        with pytest.raises(kept), contained("forward"):
            raise kept
    with contained("forward"):
        nn.Identity()


def test_errors_of_the_users_own_code_are_told_from_others():
    users, ours = {"__name__": "_backbone_mine"}, {"__name__": "experiments.x", "blamed": blamed}
    exec(compile("def run(error):\n    raise error\n", "/somewhere/mine.py", "exec"), users)
    exec("def run(inner, error):\n    with blamed('the network'):\n        inner(error)\n", ours)
    exec("def run(error):\n    raise error\n", library := {"__name__": "features.x"})
    with pytest.raises(ValueError, match=r"^the network raises RuntimeError: boom \(mine.py:2\)$"):
        ours["run"](users["run"], RuntimeError("boom"))
    for kept in (OSError("disk full"), RuntimeError("of the library"), ValueError("of the library")):
        with pytest.raises(type(kept), match=f"^{kept}$"):
            ours["run"](library["run"], kept)
