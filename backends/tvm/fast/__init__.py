"""Kernels for CPUs: blocked layouts and schedules written by hand, chosen by rule and not by a tuner."""
