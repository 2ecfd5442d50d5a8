"""Kernels of our own for GPUs, a family a file, written in the words of TVMScript."""
