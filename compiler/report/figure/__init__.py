"""A network as a figure for a paper: blocks in a column, sizes between them, what is repeated drawn once."""
