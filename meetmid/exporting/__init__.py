"""From a trained checkpoint to a verified ONNX model (extra: export). Nothing here is imported by inference."""
