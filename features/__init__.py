"""Frozen networks as feature extractors: named layers, calibrated batch norm, pooling to a grid, storage on disk, and
the checks that make a network comparable with others.

From a network to features: its stages are found, each is pooled to a grid, and they stand side by side.

>>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 4, 2, 1), torch.nn.ReLU(), torch.nn.Conv2d(8, 16, 4, 2, 1))
>>> features.default_stages(net, features.survey(net, torch.zeros(2, 3, 32, 32)))
['1']
>>> backbone = features.Backbone.from_model(net)
>>> images = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
>>> features.extract(backbone, images).shape
(20, 128)

Pooling turns maps [N, C, h, w] into rows: the paper's 4 x 4 grid of maxima, or several grids from one pass.

>>> features.max_grid(4) == features.MaxGrid(size=4)
True
>>> features.extract(backbone, images, pool=features.max_grid(2)).shape
(20, 32)
>>> grids = features.NestedGrids(finest=8)
>>> pooled = grids(torch.rand(20, 8, 16, 16))
>>> grids.grid(pooled, (8, 16, 16), size=4, kind="max").shape
torch.Size([20, 128])

Tokens of a vision transformer are laid on their grid, without the class token ahead of them.

>>> features.tokens_to_maps(torch.rand(20, 1 + 7 * 7, 192)).shape
torch.Size([20, 192, 7, 7])
"""

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
