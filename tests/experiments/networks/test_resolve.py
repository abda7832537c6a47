"""Names that are refused, in one line that says what to write instead."""

import io
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from experiments.networks import project
from experiments.networks.resolve import resolve
from experiments.run.errors import UserError
from tests.workplace import Workplace


def refusal(text: str) -> str:
    with pytest.raises(UserError) as told:
        resolve(text)
    line = str(told.value)
    assert line.startswith((f"backbone {text!r}: ", f"backbone {text} ", "backbone: no ")) and "\n" not in line
    assert line.count(text) == 1 or not text or "did you mean" in line or not text.endswith((".pth", ".safetensors"))
    return line


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (
            "nonsense",
            "no file and no network is named like that; write NAME, FILE.safetensors, netD.pth, random:PRESET",
        ),
        ("imagenet32-haf", "did you mean 'imagenet32-half'?"),
        ("pixel", "did you mean 'pixels'?"),
        ("random-imagenet32", "did you mean 'random:imagenet32'?"),
        ("", "no file and no network is named like that"),
        ("mynet.py", "no file and no network is named like that"),
        ("random:imagnet32", "unknown preset 'imagnet32'; the presets are imagenet32, "),
        ("random:imagnet32", "; did you mean 'imagenet32'?"),
        ("supervised:svhn32", "only dcgan-eval eval takes it"),
        ("none.pth", "no file none.pth"),
        ("none.safetensors", "no checkpoint at none.safetensors"),
        ("BROKEN.pth", "is no PyTorch or safetensors file, or is damaged; save it again"),
        ("BROKEN.safetensors", "is not a whole safetensors file"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, target: str, text: str) -> None:
    for suffix in ("pth", "safetensors"):
        (tmp_path / f"BROKEN.{suffix}").write_bytes(b"PK\x03\x04 broken")
    assert text in refusal(target.replace("BROKEN", f"{tmp_path}/BROKEN"))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("results/weights/imagenet32-half.safetensors", "imagenet32-half"),
        ("./results/weights/svhn32.safetensors", "svhn32"),
        ("elsewhere/results/weights/svhn32-half", "svhn32-half"),
        ("results/weights/faces-64.md", "faces-64"),
    ],
)
def test_a_network_that_comes_with_the_project_is_named_by_its_name(path: str, name: str) -> None:
    assert refusal(path).endswith(f"write {name}: networks that come with the project go by their names")


class Net(nn.Module):
    """Something to export."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.relu()


def torch_script() -> bytes:
    written = io.BytesIO()
    with pytest.warns(DeprecationWarning):
        torch.jit.save(torch.jit.script(Net()), written)
    return written.getvalue()


def exported() -> bytes:
    written = io.BytesIO()
    torch.export.save(torch.export.export(Net(), (torch.zeros(2, 3, 8, 8),)), written)
    return written.getvalue()


@pytest.mark.parametrize("name", ["p.pt2", "p.ts", "p.pt", "p.pth", "p.of-mine"])
@pytest.mark.parametrize("program", [torch_script, exported])
def test_a_program_is_refused(workplace: Workplace, capsys: pytest.CaptureFixture, name: str, program) -> None:
    file = workplace.root / name
    file.write_bytes(program())
    assert workplace.main("check", str(file)) == 2
    told = capsys.readouterr().err
    assert "exported programs are not opened" in told and told.endswith("file.py:factory\n") and told.count("\n") == 1


def test_a_name_like_a_programs_is_enough() -> None:
    assert "file.py:factory" in refusal("none.pt2") and "file.py:factory" in refusal("none.ts")


class Code:
    """Prints where it is unpickled."""

    def __reduce__(self):
        return print, ("executed",)


@pytest.mark.parametrize("content", [Code(), {"model": Code()}, nn.Sequential(nn.Conv2d(3, 4, 4, 2, 1))])
def test_no_code_of_a_file_is_run(tmp_path: Path, capfd: pytest.CaptureFixture, content: object) -> None:
    torch.save(content, tmp_path / "netD.pth")
    assert "cannot be read without running code" in refusal(str(tmp_path / "netD.pth"))
    assert "executed" not in capfd.readouterr().out
    assert zipfile.is_zipfile(tmp_path / "netD.pth")


def test_a_fault_of_the_project_is_not_called_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "make_pixels", lambda text, request: None)
    with pytest.raises(AttributeError, match="'NoneType' object has no attribute 'contender'"):
        resolve("pixels")


def test_a_fault_of_the_users_code_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text(
        "from torch import nn\n"
        "class Net(nn.Conv2d):\n"
        "    def register_forward_hook(self, *args, **kwargs):\n"
        "        raise KeyError('theirs')\n"
        "def make():\n"
        "    return nn.Sequential(Net(3, 4, 4, 2, 1), nn.ReLU())\n"
    )
    assert refusal(f"{file}:make").endswith("its code raises KeyError: 'theirs' (net.py:4)")
