"""The face-attribute model: collect -> prepare -> tune -> train -> export -> evaluate -> score."""

import os

# ONNX Runtime would keep an id of the device and a database in the user's home, and send events to Microsoft
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
