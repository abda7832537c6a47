"""File names as bytes for files that programs read, and as text for people.

Inside the program a name is a `str` as `os.fsdecode` gives it: bytes that are not text become lone surrogates.
"""

import os

_ESCAPES = ((b"\\", rb"\\"), (b"\n", rb"\n"), (b"\r", rb"\r"))  # backslashes first


def raw(name: str) -> bytes:
    """Return the bytes of a relative path, with `./` before a name that a program could take for something else.

    A first `=`, `+`, `-` or `@` begins a formula in a spreadsheet, or an option of a command.
    """
    try:
        spelled = os.fsencode(name)
    except UnicodeEncodeError:  # a name inside a zip, in a locale that lacks its characters
        spelled = name.encode("utf-8", "surrogateescape")
    return b"./" + spelled if spelled[:1] in (b"=", b"+", b"-", b"@") else spelled


def written(name: str) -> bytes:
    r"""Return `raw(name)` on one line: a backslash becomes `\\`, line breaks become `\n` and `\r`."""
    line = raw(name)
    for character, escape in _ESCAPES:
        line = line.replace(character, escape)
    return line


def shown(text: str) -> str:
    r"""Return text for a screen: what cannot be printed is escaped, also a byte that is no text (`\xff`)."""
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    byte = ord(character) - 0xDC00  # how `os.fsdecode` marks a byte that is no text
    return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else repr(character)[1:-1]
