"""Ways to run a network here: an engine a file, a line each in `table`."""
