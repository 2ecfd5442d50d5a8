"""Where to put 1x1 bottlenecks, and how narrow, under one budget for the whole network."""
