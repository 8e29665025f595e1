"""The belt's two networks: plain convolutions, BatchNorm, ReLU, nearest upsampling and sums, which quantize well.

Both are small U-Nets whose skip connections are added, not concatenated. BatchNorm is folded at export.
"""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from examples.belt.scene import DEFECTS, KINDS

CLASSES: Final = len(KINDS) + 1
"""Part classes and the background, which is 0."""
DEFECT_CLASSES: Final = len(DEFECTS) + 1
"""Defect classes and "none", which is 0."""
SEMANTIC_SIZE: Final = (272, 480)
"""Height and width of the semantic input, px."""
CANVAS: Final = 320
"""Side of an instance canvas, px."""
OFFSET_PX: Final = 32.0
"""Canvas pixels per unit of offset while training; exported offsets are in canvas pixels."""
INSTANCE_OUTPUTS: Final = ("heatmap", "offsets", "logits", "defects")
_OPSET: Final = 17
_RARE: Final = -4.0
"""First bias of outputs that are almost always off."""


class Block(nn.Module):  # type: ignore[misc]  # mypy is told to skip torch
    """Convolution, BatchNorm, ReLU."""

    def __init__(self, channels: int, out: int, *, size: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, size, stride, size // 2, bias=False)
        self.bn: nn.Module = nn.BatchNorm2d(out)

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, out, h / stride, w / stride)."""
        return functional.relu(self.bn(self.conv(x)))


class UNet(nn.Module):  # type: ignore[misc]  # mypy is told to skip torch
    """Encoder and decoder with added skips; gives its features at every stride from 2 up."""

    def __init__(self, stem: int, widths: tuple[int, ...], depths: tuple[int, ...]) -> None:
        """Take the stem's kernel size, and per stride (2, 4, 8, ...) the channels and the encoder's convolutions."""
        super().__init__()
        before = (3, *widths[:-1])
        self.encoder = nn.ModuleList(
            nn.Sequential(
                Block(source, width, size=stem if source == 3 else 3, stride=2),
                *(Block(width, width) for _ in range(depth)),
            )
            for source, width, depth in zip(before, widths, depths, strict=True)
        )
        pairs = list(zip(widths[1:], widths[:-1], strict=True))
        self.lateral = nn.ModuleList(Block(deep, shallow, size=1) for deep, shallow in pairs)
        self.decoder = nn.ModuleList(Block(shallow, shallow) for _, shallow in pairs)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Take (n, 3, h, w); return the decoded features at strides 2, 4, ..., finest first."""
        skips: list[Tensor] = []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        found = [x]
        for level in reversed(range(len(self.lateral))):
            up = functional.interpolate(self.lateral[level](x), scale_factor=2.0, mode="nearest")
            x = self.decoder[level](up + skips[level])
            found.append(x)
        return found[::-1]


class SemanticNet(nn.Module):  # type: ignore[misc]  # mypy is told to skip torch
    """Class of every 8x8 frame pixels, from the frame at quarter scale."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = UNet(3, (16, 32, 48, 64), (0, 1, 1, 2))
        self.logits = nn.Conv2d(16, CLASSES, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Take BGR/255 (n, 3, h, w); return class logits (n, 5, h/2, w/2)."""
        logits: Tensor = self.logits(self.trunk(image)[0])
        return logits


class InstanceNet(nn.Module):  # type: ignore[misc]  # mypy is told to skip torch
    """Centres, votes for them, classes and defects on a canvas of native pixels.

    ``hints`` are class logits at strides 8, 16 and 32, for training alone: a large nut looks like a washer to whoever
    sees a piece of it, so the coarse features must learn to tell.
    """

    def __init__(self) -> None:
        super().__init__()
        widths = (24, 40, 56, 72, 80)
        self.trunk = UNet(5, widths, (1, 1, 1, 1, 1))
        self.hints = nn.ModuleList(nn.Conv2d(width, CLASSES, 1) for width in widths[2:])
        self.centre = Block(40, 24)
        self.heatmap = nn.Conv2d(24, 1, 1)
        self.offsets = nn.Conv2d(24, 2, 1)
        self.logits = nn.Conv2d(24, CLASSES, 1)
        self.fine = Block(24, 24)
        self.defects = nn.Conv2d(24, 4 * DEFECT_CLASSES, 1)
        with torch.no_grad():
            self.heatmap.bias.fill_(_RARE)
            self.defects.bias[4:].fill_(_RARE)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Take BGR/255 (n, 3, h, w); return heatmap, offsets, class logits and defect logits.

        Their shapes are (n, 1, h/4, w/4), (n, 2, h/2, w/2) in units of ``OFFSET_PX``, (n, 5, h/2, w/2), (n, 5, h, w).
        """
        return self.read(self.trunk(image))

    def read(self, features: list[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the outputs from the trunk's features."""
        half, quarter = features[:2]
        defects = functional.pixel_shuffle(self.defects(self.fine(half)), 2)
        return self.heatmap(self.centre(quarter)), self.offsets(half), self.logits(half), defects


def folded(net: nn.Module) -> nn.Module:
    """Return a copy in eval mode with BatchNorm inside the convolutions and offsets in canvas pixels."""
    plain = copy.deepcopy(net).eval()
    for module in list(plain.modules()):
        if isinstance(module, Block) and not isinstance(module.bn, nn.Identity):
            module.conv = fuse_conv_bn_eval(module.conv, module.bn)
            module.bn = nn.Identity()
    if isinstance(plain, InstanceNet):
        with torch.no_grad():
            plain.offsets.weight.mul_(OFFSET_PX)
            plain.offsets.bias.mul_(OFFSET_PX)
    return plain


def export(net: nn.Module, path: Path) -> None:
    """Write a network as a float ONNX file with static shapes, whole or not at all."""
    semantic = isinstance(net, SemanticNet)
    height, width = SEMANTIC_SIZE if semantic else (CANVAS, CANVAS)
    scratch = path.with_suffix(".part")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            folded(net),
            (torch.zeros(1, 3, height, width),),
            str(scratch),
            dynamo=False,
            opset_version=_OPSET,
            input_names=["image"],
            output_names=["logits"] if semantic else list(INSTANCE_OUTPUTS),
        )
    scratch.replace(path)


def parameters(net: nn.Module) -> int:
    """Return how many numbers a network has to learn."""
    return sum(int(value.numel()) for value in net.parameters())
