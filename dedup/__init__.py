"""Near-duplicate removal: hashes, learned codes, exact search, groups and the mask of images to keep."""

from dedup.chunks import hash_chunks
from dedup.confirm import near_duplicate_representatives, near_duplicates
from dedup.descriptor import CopyDescriptor, DescriptorConfig
from dedup.files import File, HashedFiles, Skipped, hash_files
from dedup.groups import collision_groups, keep_mask, pair_groups
from dedup.hashes import ahash, dhash, phash, turned_codes
from dedup.representatives import pair_representatives, radius_representatives, turned_representatives
from dedup.search import radius_groups, radius_pairs, radius_pairs_between, turned_pairs
from dedup.semantic import SemanticConfig, SemanticHash

__all__ = [
    "CopyDescriptor",
    "DescriptorConfig",
    "File",
    "HashedFiles",
    "SemanticConfig",
    "SemanticHash",
    "Skipped",
    "ahash",
    "collision_groups",
    "dhash",
    "hash_chunks",
    "hash_files",
    "keep_mask",
    "near_duplicate_representatives",
    "near_duplicates",
    "pair_groups",
    "pair_representatives",
    "phash",
    "radius_groups",
    "radius_pairs",
    "radius_pairs_between",
    "radius_representatives",
    "turned_codes",
    "turned_pairs",
    "turned_representatives",
]
