"""What the belt's networks are asked to get right while they learn."""

from __future__ import annotations

from typing import Final, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from examples.belt.networks import DEFECT_CLASSES

Batch: TypeAlias = dict[str, Tensor]
"""``image`` and the targets, by name."""

_PART_WEIGHT: Final = 3.0
"""How much more the class of a part's pixel counts than that of the belt."""
_HINT_WEIGHT: Final = 0.3
_DEFECT_WEIGHTS: Final = (1.0, 6.0, 6.0, 3.0, 2.0)
"""None, scratch, chip, stain, missing hole: the fewer pixels, the more each counts."""


def semantic_loss(net: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Return the loss of the semantic network."""
    with torch.autocast("cpu", torch.bfloat16):
        logits = net(batch["image"])
    weight = torch.tensor([1.0, 1.5, 1.5, 1.5, 1.5])
    return {"classes": functional.cross_entropy(logits.float(), batch["labels"], weight=weight)}


def instance_loss(net: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Return the losses of the instance network, one for each of its outputs and one for its hints."""
    with torch.autocast("cpu", torch.bfloat16):
        features = net.trunk(batch["image"])
        heatmap, offsets, logits, defects = (output.float() for output in net.read(features))
        hints = [hint(level) for hint, level in zip(net.hints, features[2:], strict=True)]
    votes = batch["voters"] * batch["weights"]
    misses = functional.smooth_l1_loss(offsets, batch["offsets"], reduction="none", beta=0.1).sum(dim=1)
    classes = functional.cross_entropy(logits, batch["labels"], reduction="none")
    weights = batch["weights"] * torch.where(batch["labels"] > 0, _PART_WEIGHT, 1.0)
    return {
        "heatmap": 0.5 * focal(heatmap, batch["heatmap"]),
        "offsets": 2.0 * (misses * votes).sum() / votes.sum().clamp(min=1),
        "classes": (classes * weights).mean(),
        "hints": _HINT_WEIGHT * torch.stack([_hint_loss(hint.float(), batch["labels"]) for hint in hints]).sum(),
        "defects": _defect_loss(defects, batch["defects"]),
    }


def _hint_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of coarse class logits (n, 5, h, w), parts weighed more, with the label at each cell's centre."""
    step = labels.shape[-1] // logits.shape[-1]
    weight = torch.full((logits.shape[1],), _PART_WEIGHT)
    weight[0] = 1.0
    return functional.cross_entropy(logits, labels[:, step // 2 :: step, step // 2 :: step], weight=weight)


def focal(logits: Tensor, target: Tensor) -> Tensor:
    """CenterNet's focal loss per centre (Zhou et al. 2019, Objects as Points, equation 1)."""
    chance = torch.sigmoid(logits)
    peaks = (target > 0.999).float()
    hits = functional.logsigmoid(logits) * (1 - chance) ** 2 * peaks
    rest = functional.logsigmoid(-logits) * chance**2 * (1 - target) ** 4 * (1 - peaks)
    return -(hits + rest).sum() / peaks.sum().clamp(min=1)


def _defect_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross entropy with rare classes weighed more, and a Dice loss over the batch for every defect class."""
    entropy = functional.cross_entropy(logits, target, weight=torch.tensor(_DEFECT_WEIGHTS))
    chance = torch.softmax(logits, dim=1)
    truth = functional.one_hot(target, DEFECT_CLASSES).permute(0, 3, 1, 2).float()
    common = (chance * truth).sum(dim=(0, 2, 3))[1:]
    both = (chance + truth).sum(dim=(0, 2, 3))[1:]
    return 4.0 * entropy + (1 - (2 * common + 20) / (both + 20)).mean()
