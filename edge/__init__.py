"""The runtime on the device; it needs nothing of `export`, `calibration` or `deploy`."""
