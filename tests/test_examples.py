"""Every public function and class shows an example, and the examples do what they say.

An example may use `np`, `torch` and its own package without importing them. It runs in an empty folder with torch's
generator seeded; `...` stands for any text, and runs of white space are equal.
"""

import doctest
import importlib
import inspect

import numpy as np
import pytest
import torch

# Files whose bytes are in the keys of stored features and so do not change: the package's docstring shows the
# examples of what they define.
KEYED = {
    *("features.grids", "features.pooling", "features.stages", "evaluation.kmeans"),
    *("gan.architectures", "gan.conditional", "gan.parallel"),
}
PACKAGES = [importlib.import_module(name) for name in ("gan", "features", "evaluation", "dedup", "results")]
DOCUMENTED = {  # constants have no docstring of their own
    f"{package.__name__}.{name}": (package, thing)
    for package in PACKAGES
    for name in package.__all__
    if inspect.isroutine(thing := getattr(package, name)) or inspect.isclass(thing)
}


def run_examples(name, package, documented):
    """Run the examples in the docstring of `documented`, and return their lines."""
    names = {"np": np, "torch": torch, package.__name__: package}
    shown = doctest.DocTestParser().get_doctest(inspect.getdoc(documented) or "", names, name, None, None)
    said = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE).run(shown, out=said.append)
    assert not said, "".join(said)
    return [line.source for line in shown.examples]


@pytest.mark.parametrize("name", [name for name, (_, thing) in DOCUMENTED.items() if thing.__module__ not in KEYED])
def test_a_docstring_shows_an_example_that_does_what_it_says(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_examples(name, *DOCUMENTED[name]), f"the docstring of {name} shows no example"


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_the_example_of_a_package_shows_what_files_define_that_do_not_change(package, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = "".join(run_examples(package.__name__, package, package))
    keyed = [name for name, (of, thing) in DOCUMENTED.items() if of is package and thing.__module__ in KEYED]
    assert [name for name in keyed if name.rpartition(".")[2] not in shown] == []
