"""Near-duplicate removal: perceptual hashes, exact radius search, groups and the mask of images to keep."""

from dedup.groups import keep_mask
from dedup.hashes import phash
from dedup.search import radius_groups, radius_pairs

__all__ = ["keep_mask", "phash", "radius_groups", "radius_pairs"]
