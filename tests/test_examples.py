"""Every public function and class shows an example, and the examples do what they say.

An example may use `np`, `torch` and its own package without importing them. It runs in an empty folder with torch's
generator seeded; `...` stands for any text, and runs of white space are equal.
"""

import doctest
import importlib
import inspect
import re

import numpy as np
import pytest
import torch

# Files whose bytes are in the keys of stored features and so do not change: the package's docstring shows the
# examples of what they define.
KEYED = {
    *("features.grids", "features.pooling", "features.stages", "evaluation.kmeans"),
    *("gan.architectures", "gan.conditional", "gan.parallel"),
}
PACKAGES = ("gan", "features", "evaluation", "dedup", "results")


def documented(package):
    """The package's public functions and classes; constants have no docstring of their own."""
    module = importlib.import_module(package)
    return {
        n: thing for n in module.__all__ if inspect.isroutine(thing := getattr(module, n)) or inspect.isclass(thing)
    }


NAMES = [(package, name) for package in PACKAGES for name in documented(package)]


def example(package, name):
    """The doctest of a thing's docstring; of its package's docstring for a thing of KEYED."""
    thing, module = documented(package)[name], importlib.import_module(package)
    keyed = thing.__module__ in KEYED
    names = {"np": np, "torch": torch, package: module}
    text = inspect.getdoc(module if keyed else thing) or ""
    shown = doctest.DocTestParser().get_doctest(text, names, f"{package}.{name}", None, None)
    if keyed and not any(re.search(rf"\b{name}\b", line.source) for line in shown.examples):
        shown.examples.clear()
    return shown


@pytest.mark.parametrize(("package", "name"), NAMES, ids=[".".join(pair) for pair in NAMES])
def test_example_does_what_it_says(package, name, tmp_path, monkeypatch):
    shown = example(package, name)
    assert shown.examples, f"the docstring of {package}.{name} shows no example"
    monkeypatch.chdir(tmp_path)
    said = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE).run(shown, out=said.append)
    assert not said, "".join(said)
