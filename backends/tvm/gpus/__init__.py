"""NVIDIA's GPUs: their architectures, and what of driver and runtime this machine has. Nothing here knows TVM."""
