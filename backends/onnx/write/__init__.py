"""Ops to ONNX operators: a row an op, and nodes of a file that are left as they are."""
