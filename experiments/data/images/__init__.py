"""Image files of folders, zips and LMDBs: listed, decoded, cropped, packed, hashed."""
