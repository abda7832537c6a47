"""The names that users rely on, pinned: a change here is a change for them."""

import importlib

import pytest

PUBLIC = {
    "gan": """CONDITIONAL_PRESETS PRESETS Architecture ConditionalArchitecture ConditionalDiscriminator
        ConditionalGenerator Discriminator Generator Port Step TrainingConfig TrainingState analogy
        architecture around draw drop_maps freeze full_view initialise interpolate interpolate_on_sphere load
        load_port load_state load_theano new_state sample sample_z save save_state train""",
    "features": """Backbone BackboneError Costs FeatureStore Finding MaxGrid NestedGrids Survey ValueRange
        batch_statistics calibrate_batchnorm check_backbone choose_layers concentration default_stages
        extract extract_labelled feature_key feature_width guided_backprop layer_shapes layer_widths max_grid max_units
        measure_costs parametrize_with_checks run_checks survey tapped tokens_to_maps weights_digest""",
    "evaluation": """DEFAULT_GRID L2SVM Agreement DrawsTest Interval KMeansFeatures Nearness PairedTest Presence
        QuadrantSums RunningKnn Selection Space Spread SupervisedData Trial TrialResult agreement
        draw_trials fit_selected holm interval95_of_mean interval95_of_proportion k_nearest knn_predict
        l2svm_path label_draws learn_kmeans mcnemar mean_distance nearest nearest_others nearness
        paired_bootstrap paired_over_draws presence run_trial score_draws select_C spread stratified_holdout""",
    "dedup": """CopyDescriptor DescriptorConfig File HashedFiles SemanticConfig SemanticHash Skipped ahash
        collision_groups dhash hash_chunks hash_files keep_mask near_duplicate_representatives near_duplicates
        pair_groups pair_representatives phash radius_groups radius_pairs radius_pairs_between
        radius_representatives turned_codes turned_pairs turned_representatives""",
    "results": """ABLATION_COLUMNS COLUMNS LEADERBOARD_COLUMNS CostRecord MeasuredRow Record ReportedRow Table
        ablation_files answering append_cost append_record git_commit hardware leaderboard_files portable read_costs
        read_records render_csv render_files render_latex render_markdown run_id source_digest
        table_from_dict utc_now versions with_run write_tables""",
}


@pytest.mark.parametrize("package", PUBLIC)
def test_public_names_are_exactly_these(package):
    names = importlib.import_module(package).__all__
    assert sorted(names) == sorted(PUBLIC[package].split())
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("package", PUBLIC)
def test_every_public_name_exists_and_is_documented(package):
    module = importlib.import_module(package)
    things = {name: getattr(module, name) for name in module.__all__}
    assert [name for name, thing in things.items() if callable(thing) and not thing.__doc__] == []
