"""ONNX: a table row per op, export, and onnxruntime sessions."""
