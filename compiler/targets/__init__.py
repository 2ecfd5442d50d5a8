"""What networks are compiled for: a target a file, a line each in `table`."""
