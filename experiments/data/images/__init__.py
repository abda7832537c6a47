"""Image files in folders, zips and LMDBs: list, decode, crop, pack and hash them."""
