"""A network in floats of 16 bits: which nodes, where casts cost least, and the graph with them."""
