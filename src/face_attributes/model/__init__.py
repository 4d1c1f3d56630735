"""The network, its ONNX export, and the exported model."""
