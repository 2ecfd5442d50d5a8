"""How kernels of our own are written, one kind a file or folder: sizes, packing, loops, and forms to tune. No graph is known here."""
