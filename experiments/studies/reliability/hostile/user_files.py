"""Hostile files of a user, `file.py:factory`: they end the process, return something odd, or make odd networks."""

from pathlib import Path

from experiments.studies.reliability.case import Case
from experiments.studies.reliability.mutate import Rng, pick

IMPORTS = "import os, signal, sys, torch\nfrom torch import nn\nimport features\n"
GOOD = "nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU())"
ENDS = (
    *("raise SystemExit", "raise SystemExit(0)", "raise SystemExit('gone')", "sys.exit(3)", "raise KeyboardInterrupt"),
    *(
        "raise Exception('two\\nlines')",
        "raise BaseException('x')",
        "raise UnicodeError('\\x1b[31m')",
        "1 / 0",
        "quit()",
    ),
    *(
        "raise MemoryError",
        "raise RecursionError",
        "raise StopIteration",
        "raise GeneratorExit",
        "import nothing_there",
    ),
    "os.chdir('/')",
    *("sys.setrecursionlimit(50)", "sys.argv.clear()", "sys.path.clear()", "torch.set_default_dtype(torch.float64)"),
    *("signal.signal(signal.SIGINT, signal.SIG_IGN)", "torch.set_grad_enabled(True)", "torch.manual_seed(0)"),
)
RETURNS = (
    *("None", "3", "'x'", "nn.Module", "object()", "lambda x: x", "torch.zeros(3)", "[]", "nn.Module()", "nn.ReLU"),
    *("nn.ModuleList()", "nn.Identity()", "nn.Linear(3, 3)", "nn.Conv2d(1, 2, 3)", "nn.Conv2d(3, 2, 99)", GOOD),
    *("nn.Sequential()", "nn.Conv2d(3, 2, 3).to('meta')", "nn.Conv2d(3, 2, 3).half()", "nn.Conv2d(3, 2, 3).double()"),
    *("nn.Conv2d(3, 2, 3, dtype=torch.complex64)", "nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 2, 3))"),
    *("nn.utils.spectral_norm(nn.Conv2d(3, 2, 3))", "nn.LazyConv2d(2, 3)", "nn.Sequential(nn.Dropout2d(), nn.ReLU())"),
    *("nn.Sequential(nn.Conv2d(3, 2, 3), nn.InstanceNorm2d(2), nn.ReLU())", "nn.Upsample(scale_factor=2)"),
    *(f"features.Backbone({GOOD}, {rest})" for rest in ("['0']", "[]", "None", "['9']", "['1', '1']", "'1'", "[3]")),
    *(f"features.Backbone({GOOD}, ['1'], {rest})" for rest in ("(3, 0, 32)", "(3, 32)", "'x'", "(3, 2**40, 2**40)")),
    *(f"features.Backbone({GOOD}, ['1'], (3, 32, 32), {r})" for r in ("(1, -1)", "3", "(0, float('nan'))", "(0, 0)")),
)
FORWARDS = (
    *ENDS[:14],
    *(
        "return None",
        "return 3",
        "return 'x'",
        "return []",
        "return {}",
        "return {'a': x}",
        "return (x, x)",
        "return x[:1]",
    ),
    *(
        "return x.to(torch.complex64)",
        "return x.to_sparse()",
        "return x * float('nan')",
        "return x.int()",
        "return x > 0",
    ),
    *("return torch.empty(0)", "return torch.zeros(2, 3, 4, 4, 4)", "return x.to('meta')", "x.zero_(); return x"),
    *(
        "return x.unsqueeze(0).expand(3, *x.shape)",
        "return torch.rand(len(x), 2, 4, 4)",
        "return torch.zeros(9, 2, 4, 4)",
    ),
    *("return self.forward(x)", "return x * 1e30", "self.register_buffer(str(len(x)), x); return x"),
)
MODULES = tuple(
    f"class Net(nn.Module):\n    {method}\n    def forward(self, x): return x\n"
    for method in (
        *("def parameters(self, *a, **k): raise RuntimeError('no')", "def __init__(self): pass"),
        *("def state_dict(self, *a, **k): raise RuntimeError('no')", "def named_modules(self, *a, **k): return 3"),
        *("def train(self, mode=True): raise SystemExit(0)", "def to(self, *a, **k): return None"),
        *("def __getattr__(self, name): raise KeyError(name)", "def __call__(self, x): raise SystemExit(0)"),
    )
)
FORWARD = """class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)
    def forward(self, x):
        x = self.conv(x)
        {inside}
def make():
    return Net()
"""
NAMES = ("net.py", "my net.py", "net:1.py", "-net.py", "nétwörk.py", "torch.py", "a\nb.py", "sub/net.py", "x.py:y.py")


def factory(rng: Rng) -> Case:
    """A user's file whose import, factory or network does something odd."""
    where = pick(rng, ("import", "factory", "return", "forward", "module", "text"))
    body = f"def make():\n    return {GOOD}\n"
    if where == "import":
        told = pick(rng, ENDS)
        body = f"{told}\n{body}"
    elif where == "factory":
        told = pick(rng, ENDS)
        body = f"def make():\n    {told}\n    return {GOOD}\n"
    elif where == "return":
        told = pick(rng, RETURNS)
        body = f"def make():\n    return {told}\n"
    elif where == "forward":
        told = pick(rng, FORWARDS)
        body = FORWARD.format(inside="\n        ".join(told.split("; ")))
    elif where == "module":
        told = pick(rng, MODULES)
        body = f"{told}def make():\n    return Net()\n"
    else:
        told = pick(
            rng, ("", "\x00", "def make(", "make = 3", "def make(x): return x", "class make: pass", "\t\tx", "é = 1")
        )
        body = told
    name = pick(rng, NAMES) if rng.random() < 0.3 else "net.py"
    named = pick(rng, ("nothing", "", "os.system", "make()", "__name__")) if rng.random() < 0.15 else "make"
    target = f"{name}:{named}"
    command = ("check", "--", target) if rng.random() < 0.5 else ("eval", "--dry-run", "--", target)

    def prepare(folder: Path) -> None:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(IMPORTS + body if where != "text" else body)

    codes = (0, 1, 2, 130) if "KeyboardInterrupt" in told else (0, 1, 2)  # nothing tells it from Ctrl-C
    return Case("user's file", f"{target!r}, {where}: {told[:60]!r}", command, prepare, codes=codes)
