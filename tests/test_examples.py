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
# names that have no example yet; one that has gained an example must leave
EXEMPT = {
    "gan": """
        Architecture ConditionalArchitecture ConditionalDiscriminator ConditionalGenerator Discriminator Generator Port
        Step TrainingConfig TrainingState analogy architecture around draw drop_maps freeze full_view initialise
        interpolate interpolate_on_sphere load load_port load_state load_theano new_state sample sample_z save
        save_state train
    """,
    "features": """
        Backbone BackboneError Costs FeatureStore Finding MaxGrid NestedGrids Survey batch_statistics
        calibrate_batchnorm check_backbone choose_layers concentration default_stages extract feature_key feature_width
        guided_backprop layer_shapes layer_widths max_grid max_units measure_costs parametrize_with_checks run_checks
        survey tapped tokens_to_maps weights_digest
    """,
    "evaluation": """
        L2SVM Agreement DrawsTest Interval KMeansFeatures Nearness PairedTest Presence QuadrantSums RunningKnn Selection
        Space Spread SupervisedData Trial TrialResult agreement draw_trials fit_selected holm interval95_of_mean
        interval95_of_proportion k_nearest knn_predict l2svm_path label_draws learn_kmeans mcnemar mean_distance nearest
        nearest_others nearness paired_bootstrap paired_over_draws presence run_trial score_draws select_C spread
        stratified_holdout
    """,
    "dedup": "",
    "results": """
        CostRecord MeasuredRow Record ReportedRow Table ablation_files answering append_cost append_record git_commit
        hardware leaderboard_files portable read_costs read_records render_csv render_files render_latex render_markdown
        run_id source_digest table_from_dict utc_now versions with_run write_tables
    """,
}


def documented(package):
    """The package's public functions and classes; constants have no docstring of their own."""
    module = importlib.import_module(package)
    return {
        n: thing for n in module.__all__ if inspect.isroutine(thing := getattr(module, n)) or inspect.isclass(thing)
    }


NAMES = [(package, name) for package in EXEMPT for name in documented(package)]


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
    if name in EXEMPT[package].split():
        assert not shown.examples, f"{package}.{name} has an example: remove it from EXEMPT"
        pytest.skip("no example yet")
    assert shown.examples, f"the docstring of {package}.{name} shows no example"
    monkeypatch.chdir(tmp_path)
    said = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE).run(shown, out=said.append)
    assert not said, "".join(said)


def test_only_public_names_are_exempt():
    assert {p: sorted(set(names.split()) - set(documented(p))) for p, names in EXEMPT.items()} == {
        p: [] for p in EXEMPT
    }
