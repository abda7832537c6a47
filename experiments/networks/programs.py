"""Exported programs (`torch.export.save`), opened without running anything that is in them but torch's operators.

`torch.export.load` by itself unpickles, evaluates formulas and looks operators up by any name below `torch`. So a file
is checked first, and what is loaded is what was checked: no pickled weights, constants or compiled code, example inputs
that are tensors alone, operators from a short list, sizes that are plain formulas.
TorchScript is refused: its code can read and write files, and shows no inner layers.
"""

import hashlib
import io
import json
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["load_program"]

EXPORT = "torch.export.export(model, (x,), dynamic_shapes=({0: torch.export.Dim('n')},))"
_ENTRIES = re.compile(
    r"models/model\.json|data/sample_inputs/model\.pt|data/weights/(weight_\d+|model_weights_config\.json)|"
    r"data/constants/(tensor_\d+|model_constants_config\.json)|archive_format|archive_version|byteorder|"
    r"\.data/(version|serialization_id)|\.format_version|\.storage_alignment"
)
_OPERATORS = re.compile(
    r"torch\.ops\.aten\.(?!from_file)\w+\.\w+|torch\.ops\.higher_order\.wrap_with_(set_grad_enabled|autocast)|"
    r"torch\.sym_(float|int|max|min|not|sqrt)|"
    r"_operator\.(add|and_|eq|floordiv|ge|getitem|gt|le|lt|mod|mul|ne|neg|not_|or_|pos|pow|sub|truediv)"
)
_FORMULA = re.compile(
    r"(Symbol|Integer|Add|Mul|Pow|Max|Min|Mod|FloorDiv|CleanDiv|PythonMod|Rational|positive|nonnegative|integer|True|False|"
    r"'[a-z]\d+'|[a-z]\d+|\d+|[-+*/%(), =])*"
)


def load_program(file: Path) -> tuple[nn.Module, tuple[int, int, int], list[str]]:
    """(the program as modules, shape [C, H, W] of its images, names of its outputs).

    `output0`, `output1` ... are submodules that give the outputs; the others have the names that they were exported
    with. Raises FileNotFoundError; ValueError for other files, and for programs that take other than any number of
    images of one size.
    """
    if not file.is_file():
        raise FileNotFoundError(f"no file {file}")
    content = file.read_bytes()
    checked = _checked(file, content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's own deprecations
            program = torch.export.load(checked)
            model = torch.export.unflatten(program)
    except Exception as error:  # whatever damaged archives raise
        raise ValueError(f"{file.name} cannot be read as an exported program: {_line(error)}") from error
    wanted = program.graph_signature.user_inputs
    inputs = [node.meta.get("val") for node in program.graph.nodes if node.name in wanted]
    if len(inputs) != 1 or not isinstance(inputs[0], Tensor) or inputs[0].ndim != 4:
        raise ValueError(f"{file.name} must take one batch of images [N, C, H, W] and nothing else; {EXPORT}")
    if inputs[0].dtype != torch.float32:
        raise ValueError(f"{file.name} must take float32 images, got {inputs[0].dtype}")
    batch, channels, height, width = inputs[0].shape
    if isinstance(batch, int):
        raise ValueError(f"{file.name} takes batches of {batch} alone; export it for any: {EXPORT}")
    if not all(isinstance(size, int) for size in (channels, height, width)):
        raise ValueError(
            f"{file.name} takes images of any size; export it for one, with only the batch dynamic: {EXPORT}"
        )
    return model, (channels, height, width), _name_outputs(model, hashlib.sha256(content).hexdigest())


def _name_outputs(model: Any, digest: str) -> list[str]:
    """Makes each output of the graph that of a submodule, and returns their names."""
    end = next(node for node in model.graph.nodes if node.op == "output")
    names: list[str] = []

    def named(value: Any) -> Any:
        names.append(f"output{len(names)}")
        model.add_module(names[-1], _Output(digest))
        with model.graph.inserting_before(end):
            return model.graph.create_node("call_module", names[-1], (value,))

    end.args = torch.fx.map_arg(end.args, named)
    return names


class _Output(nn.Module):
    """Gives what it gets. Its printed form shows the program's digest, so that a key of features covers the graph."""

    def __init__(self, digest: str) -> None:
        super().__init__()
        self.digest = digest

    def forward(self, x: Any) -> Any:
        return x

    def extra_repr(self) -> str:
        return f"program {self.digest}"


def _checked(file: Path, content: bytes) -> io.BytesIO:
    """The archive again, of exactly the entries that were looked at. ValueError where one is not admitted."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
            parsed = {name: json.loads(entry) for name, entry in entries.items() if name.endswith(".json")}
    except (zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{file.name} is no exported program (torch.export.save): {_line(error)}") from error
    if any(name.startswith("code/") for name in entries):
        raise ValueError(
            f"{file.name} is TorchScript, whose code can write files; export the network instead: {EXPORT}"
        )
    if "models/model.json" not in entries:
        raise ValueError(f"{file.name} is no exported program of torch 2.8 or newer (torch.export.save)")
    for name in entries:
        if not _ENTRIES.fullmatch(name):
            raise ValueError(f"{file.name} holds {name}, which is not opened; export weights and graph alone")
    for name, value in parsed.items():
        if wrong := next(_not_admitted(value), None):
            raise ValueError(f"{file.name}: {name} has {wrong}, which is not admitted")
    try:
        torch.load(io.BytesIO(entries["data/sample_inputs/model.pt"]), weights_only=True)
    except Exception as error:  # what damaged pickles raise is of many types
        raise ValueError(f"{file.name} holds example inputs that are no tensors; {EXPORT}") from error
    again = io.BytesIO()
    with zipfile.ZipFile(again, "w") as archive:
        for name, entry in entries.items():
            archive.writestr(f"archive/{name}", entry)
    again.seek(0)
    return again


def _not_admitted(value: Any) -> Iterator[str]:
    """What a program's JSON may not hold, wherever it stands."""
    if isinstance(value, list):
        for inner in value:
            yield from _not_admitted(inner)
    elif isinstance(value, dict):
        for name in (value.get("target"), value.get("as_operator")):
            if name is not None and not _OPERATORS.fullmatch(str(name)):
                yield f"the operator {name}"
        for text in (value.get("expr_str", ""), *value.get("range_constraints", ())):
            if not _FORMULA.fullmatch(str(text)):
                yield f"the size {text}"
        for text in (value.get("in_spec", ""), value.get("out_spec", "")):
            if re.search(r"__enum__|default_factory|\\u", str(text)):  # which name modules to import
                yield "containers of other classes"
        if value.get("use_pickle") or "as_custom_obj" in value:
            yield "pickled objects"
        for inner in value.values():
            yield from _not_admitted(inner)


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
