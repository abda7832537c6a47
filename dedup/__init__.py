"""Near-duplicate removal: perceptual hashes, exact radius search, groups and the mask of images to keep."""

from dedup.chunks import hash_chunks
from dedup.groups import keep_mask
from dedup.hashes import ahash, dhash, phash
from dedup.search import radius_groups, radius_pairs, radius_pairs_between

__all__ = [
    "ahash",
    "dhash",
    "hash_chunks",
    "keep_mask",
    "phash",
    "radius_groups",
    "radius_pairs",
    "radius_pairs_between",
]
