"""Low-rank forms of products: 1x1 bottlenecks, and what a rank leaves out."""
