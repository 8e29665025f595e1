"""The runtime on the device; it needs nothing of `export`, `calibration` or `deploy`."""

import os

# From 1.32 on, onnxruntime keeps a device id in the user's cache and reports to its maker unless told not to before it
# is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
