"""Train a YOLO segmentation network on canvases, in the peers' environment: `benchmarks.belt_yolo` starts it.

Imports nothing of ours. Arguments: the data set's YAML, epochs, an ONNX file of YOLOv8n-seg that was trained on COCO,
a folder for the ONNX files, and their input sizes, WIDTHxHEIGHT.
"""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

NETWORK = "yolov8n-seg.yaml"
COMMON = 35  # convolutions, in the order in which they run, before ONNX files begin to order branches differently
SEEN = 32  # pictures
SIDE = 320  # of a canvas, and of the network's input
LEARNING: dict[str, Any] = {
    "batch": 16,
    "optimizer": "AdamW",
    "lr0": 2e-3,
    "cos_lr": True,
    "warmup_epochs": 1.0,
    "mosaic": 0.0,  # canvases are mosaics already
    "erasing": 0.0,
    "translate": 0.05,
    "scale": 0.1,
    "flipud": 0.5,
    "hsv_h": 0.01,
    "hsv_s": 0.2,
    "hsv_v": 0.2,
    "overlap_mask": False,  # a stain is no hole in its part
    "close_mosaic": 0,
}
QUIET: dict[str, Any] = {"val": False, "plots": False, "amp": False, "workers": 1, "device": "cpu", "seed": 1}


def main(data: str, epochs: int, known: str, out: Path, sizes: list[str]) -> None:
    """Train, and write the float network to folder `out`, once for each of the input `sizes`."""
    yolo: Any = importlib.import_module("ultralytics").YOLO
    network = yolo(NETWORK, task="segment")
    take_over(network.model, known, Path(data).parent / "images")
    with tempfile.TemporaryDirectory() as folder:
        begin = Path(folder) / "begin.pt"
        network.save(begin)
        yolo(begin).train(data=data, imgsz=SIDE, epochs=epochs, project=folder, name="run", **LEARNING, **QUIET)
        for width, height in (map(int, size.split("x")) for size in sizes):
            last = yolo(Path(folder) / "run" / "weights" / "last.pt")
            exported = last.export(format="onnx", imgsz=(height, width), opset=17, simplify=False, device="cpu")
            shutil.copyfile(exported, out / onnx_name(width, height))


def onnx_name(width: int, height: int) -> str:
    """Return the name of the network's file at an input size."""
    return f"yolo_{width}x{height}.onnx"


def take_over(network: Any, known: str, images: Path) -> None:
    """Give the first convolutions of `network` the weights of those in `known`, whose normalization is folded in.

    What they are normalized by while the network learns, they are given back: by what they make of some `images`.
    Raises `ValueError` where their shapes differ.
    """
    cv2, numpy, onnx, torch = (importlib.import_module(name) for name in ("cv2", "numpy", "onnx", "torch"))
    graph = onnx.load(known).graph
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor).copy() for tensor in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type == "Conv"][:COMMON]
    seen = numpy.stack([cv2.imread(str(path))[:, :, ::-1] for path in sorted(images.iterdir())[:SEEN]])
    batch = torch.from_numpy(seen.transpose(0, 3, 1, 2) / numpy.float32(255))
    network.eval()
    blocks = _in_order(network, torch.zeros(1, 3, SIDE, SIDE), torch)[:COMMON]
    for node, block in zip(convolutions, blocks, strict=True):
        weight, bias = (torch.from_numpy(arrays[name]) for name in node.input[1:3])
        if weight.shape != block.conv.weight.shape:
            raise ValueError(f"{known}: a convolution of {tuple(weight.shape)}, not of {block.conv.weight.shape}")
        block.conv.weight.data[:] = weight
        block.bn.bias.data[:] = bias
    made: dict[Any, Any] = {}
    hooks = [block.conv.register_forward_hook(lambda conv, _, out: made.setdefault(conv, out)) for block in blocks]
    with torch.no_grad():
        network(batch)
    for hook in hooks:
        hook.remove()
    for block in blocks:
        mean, var = made[block.conv].mean((0, 2, 3)), made[block.conv].var((0, 2, 3))
        block.bn.running_mean[:], block.bn.running_var[:] = mean, var
        block.bn.weight.data[:] = (var + block.bn.eps).sqrt()
        block.bn.bias.data += mean


def _in_order(network: Any, picture: Any, torch: Any) -> list[Any]:
    """Return the blocks of convolution and normalization in the order in which they run."""
    blocks: list[Any] = []
    hooks = [
        module.register_forward_pre_hook(lambda block, _: blocks.append(block))
        for module in network.modules()
        if hasattr(module, "conv") and hasattr(module, "bn")
    ]
    with torch.no_grad():
        network(picture)
    for hook in hooks:
        hook.remove()
    return blocks


if __name__ == "__main__":
    os.environ.setdefault("YOLO_OFFLINE", "true")
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], Path(sys.argv[4]), sys.argv[5:])
