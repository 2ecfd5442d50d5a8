"""From a network to what runs or is handed on: an artifact, a module in memory, a better ONNX file."""
