"""On a workstation: trained models -> canonical ONNX -> quantized ONNX -> a bundle and a report about it."""
