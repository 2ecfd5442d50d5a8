"""What lies around a model in a file: bytes that nobody vouches for, read within limits and written whole."""
