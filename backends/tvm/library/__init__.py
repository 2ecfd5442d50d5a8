"""A compiled library: built, linked, packed, loaded and run."""
