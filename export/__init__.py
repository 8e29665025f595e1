"""On a workstation: trained model -> canonical ONNX -> quantized ONNX or TensorRT plan -> bundle and report."""

from export.modules import from_torch

__all__ = ["from_torch"]
