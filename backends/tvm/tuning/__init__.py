"""The tuner: forms of kernels drawn, timed turn by turn, and compared with what the machine can do."""
