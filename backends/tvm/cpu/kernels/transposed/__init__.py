"""Transposed convolution on blocked tensors."""
