"""Near-duplicate removal: perceptual hashes, exact radius search, groups and the mask of images to keep."""

from dedup.files import File, HashedFiles, Skipped, hash_files
from dedup.groups import keep_mask
from dedup.hashes import ahash, dhash, phash
from dedup.search import radius_groups, radius_pairs, radius_pairs_between

__all__ = [
    "File",
    "HashedFiles",
    "Skipped",
    "ahash",
    "dhash",
    "hash_files",
    "keep_mask",
    "phash",
    "radius_groups",
    "radius_pairs",
    "radius_pairs_between",
]
