"""Kernels for CPUs: blocked layouts and schedules written by hand, chosen by rules that a tuner may overrule."""
