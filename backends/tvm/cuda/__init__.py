"""CUDA: stock schedules, cross-compiled without a GPU."""
