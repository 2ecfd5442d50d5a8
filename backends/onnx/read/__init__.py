"""ONNX operators to IR: one row per operator, by family, and what the rows share."""
