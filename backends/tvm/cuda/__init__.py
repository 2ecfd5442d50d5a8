"""CUDA: kernels of our own for numbers of 16 bits and stock schedules for the rest, cross-compiled without a GPU."""
