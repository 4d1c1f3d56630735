"""The network, its ONNX export, and the model that ships."""
