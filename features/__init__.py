"""Frozen networks as feature extractors: named layers, calibrated batch norm, pooling to a grid, storage on disk, and
the checks that make a network comparable with others."""

from features.backbone import Backbone, BackboneError, feature_width, layer_shapes, layer_widths, max_units
from features.batchnorm import batch_statistics, calibrate_batchnorm
from features.conformance import Finding, check_backbone, parametrize_with_checks, run_checks
from features.costs import Costs, measure_costs
from features.extract import extract, extract_labelled
from features.grids import NestedGrids
from features.guided import concentration, guided_backprop
from features.images import ValueRange
from features.key import feature_key, weights_digest
from features.pooling import MaxGrid, max_grid
from features.stages import default_stages, tokens_to_maps
from features.store import FeatureStore
from features.survey import Survey, choose_layers, survey
from features.taps import tapped

__all__ = [
    "Backbone",
    "BackboneError",
    "Costs",
    "FeatureStore",
    "Finding",
    "MaxGrid",
    "NestedGrids",
    "Survey",
    "ValueRange",
    "batch_statistics",
    "calibrate_batchnorm",
    "check_backbone",
    "choose_layers",
    "concentration",
    "default_stages",
    "extract",
    "extract_labelled",
    "feature_key",
    "feature_width",
    "guided_backprop",
    "layer_shapes",
    "layer_widths",
    "max_grid",
    "max_units",
    "measure_costs",
    "parametrize_with_checks",
    "run_checks",
    "survey",
    "tapped",
    "tokens_to_maps",
    "weights_digest",
]
