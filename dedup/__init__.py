"""Near-duplicate removal: hashes, the learnt code, exact radius search, groups and the mask of images to keep."""

from dedup.groups import collision_groups, keep_mask
from dedup.hashes import ahash, dhash, phash
from dedup.search import radius_groups, radius_pairs, radius_pairs_between
from dedup.semantic import SemanticConfig, SemanticHash

__all__ = [
    "SemanticConfig",
    "SemanticHash",
    "ahash",
    "collision_groups",
    "dhash",
    "keep_mask",
    "phash",
    "radius_groups",
    "radius_pairs",
    "radius_pairs_between",
]
