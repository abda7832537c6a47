"""Frozen networks as feature extractors: named layers, calibrated batch norm, pooled to a grid, kept on
disk."""

from features.backbone import Backbone, check_backbone, feature_width, layer_shapes, max_units
from features.batchnorm import batch_statistics, calibrate_batchnorm
from features.extract import extract
from features.key import feature_key, weights_digest
from features.pooling import MaxGrid, max_grid
from features.store import FeatureStore
from features.taps import tapped

__all__ = [
    "Backbone",
    "FeatureStore",
    "MaxGrid",
    "batch_statistics",
    "calibrate_batchnorm",
    "check_backbone",
    "extract",
    "feature_key",
    "feature_width",
    "layer_shapes",
    "max_grid",
    "max_units",
    "tapped",
    "weights_digest",
]
