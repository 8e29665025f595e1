"""torchvision's Mask R-CNN with fixed shapes and without control flow: what an exporter can write down.

The same layers, weights and rules (torchvision 0.27, `models/detection`: `rpn.py`, `roi_heads.py`; He et al. 2017,
Mask R-CNN), with three differences in form: what the original removes from its lists gets the score -1 and goes last;
lists are filled up to their full length; each region is read from every level of the pyramid, and the right one kept.
One difference in substance: at most `CANDIDATES` pairs of region and class, the surest, go into the last suppression.

Imported only where torch and torchvision are.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import torch
from torch import nn
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import concat_box_prediction_layers
from torchvision.ops import clip_boxes_to_image, nms, roi_align

OUTPUTS = ("boxes", "scores", "labels", "masks")
CANDIDATES = 2000
LEAST_SIDE_PX = 1e-2  # as in `RoIHeads.postprocess_detections`
EDGE = 1e-6  # as in `LevelMapper`

Features: TypeAlias = dict[str, Any]


class FixedMaskRcnn(nn.Module):  # type: ignore[misc]  # mypy is told to skip torch
    """Picture (1, 3, h, w) float32 RGB, 0 to 1 -> `OUTPUTS`.

    Boxes (n, 4) are corners in pixels, scores (n,) best first, labels (n,) int64, masks (n, 1, s, s) probabilities;
    n is the network's `detections_per_img`, and a score of 0 is none. The picture is not resized: h and w are those
    that the network is to see, multiples of 32.
    """

    def __init__(self, rcnn: Any, size: tuple[int, int]) -> None:
        """`rcnn` is a `torchvision.models.detection.MaskRCNN`, `size` the (h, w) of its pictures."""
        super().__init__()
        self.rcnn, self.size = rcnn.eval(), size
        self.register_buffer("mean", torch.tensor(rcnn.transform.image_mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(rcnn.transform.image_std).view(1, 3, 1, 1))
        blank = torch.zeros(1, 3, *size)
        with torch.no_grad():
            maps = list(rcnn.backbone(blank).values())
        generator = rcnn.rpn.anchor_generator
        self.register_buffer("anchors", generator(ImageList(blank, [size]), maps)[0])
        each = zip(generator.num_anchors_per_location(), maps, strict=True)
        self.counts = [count * cells.shape[-2] * cells.shape[-1] for count, cells in each]

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return what `OUTPUTS` names."""
        features = self.rcnn.backbone((image - self.mean) / self.std)
        regions, there = self._regions(features)
        boxes, scores, labels = self._objects(features, regions, there)
        return boxes, scores, labels, self._masks(features, boxes, labels)

    def _regions(self, features: Features) -> tuple[torch.Tensor, torch.Tensor]:
        """Return proposals (r, 4), and which of them (r,) are any."""
        rpn = self.rcnn.rpn
        objectness, deltas = concat_box_prediction_layers(*rpn.head(list(features.values())))
        chosen, levels, start = [], [], 0
        for level, count in enumerate(self.counts):
            k = min(rpn.pre_nms_top_n(), count)
            chosen.append(objectness.reshape(-1)[start : start + count].topk(k).indices + start)
            levels.append(torch.full((k,), float(level)))
            start += count
        rows = torch.cat(chosen)
        boxes = clip_boxes_to_image(rpn.box_coder.decode_single(deltas[rows], self.anchors[rows]), self.size)
        scores = torch.where(_large(boxes, rpn.min_size), objectness.reshape(-1)[rows].sigmoid(), -1.0)
        found, surely, _ = self._best(boxes, scores, torch.cat(levels), rpn.nms_thresh, rpn.post_nms_top_n())
        return found, surely >= max(rpn.score_thresh, 0.0)

    def _objects(
        self, features: Features, regions: torch.Tensor, there: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return boxes (n, 4), scores (n,) and labels (n,)."""
        heads = self.rcnn.roi_heads
        pooled = _pooled(heads.box_roi_pool, features, regions, self.size)
        logits, deltas = heads.box_predictor(heads.box_head(pooled))
        count, classes = logits.shape
        boxes = heads.box_coder.decode_single(deltas, regions).reshape(count, classes, 4)
        boxes = clip_boxes_to_image(boxes, self.size)[:, 1:].reshape(-1, 4)
        scores = torch.where(there[:, None], logits.softmax(-1), -1.0)[:, 1:].reshape(-1)
        scores = torch.where((scores > heads.score_thresh) & _large(boxes, LEAST_SIDE_PX), scores, -1.0)
        labels = torch.arange(1, classes).repeat(count).to(boxes.dtype)
        first = scores.topk(min(CANDIDATES, count * (classes - 1))).indices
        boxes, scores, labels = self._best(
            boxes[first], scores[first], labels[first], heads.nms_thresh, heads.detections_per_img
        )
        return boxes, scores.clamp(min=0), labels.to(torch.int64)

    def _masks(self, features: Features, boxes: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        heads = self.rcnn.roi_heads
        logits = heads.mask_predictor(heads.mask_head(_pooled(heads.mask_roi_pool, features, boxes, self.size)))
        mine = labels.view(-1, 1, 1, 1).expand(-1, 1, *logits.shape[-2:])
        return logits.gather(1, mine).sigmoid()

    def _best(
        self, boxes: torch.Tensor, scores: torch.Tensor, groups: torch.Tensor, iou: float, count: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the `count` best that suppression inside each group keeps; where there are fewer, of score -1."""
        apart = boxes + groups[:, None] * (max(self.size) + 1.0)
        none = torch.full((count,), len(scores), dtype=torch.int64)
        kept = torch.cat([nms(apart, scores, iou), none])[:count].reshape(count)
        last = torch.zeros(1)
        return (
            torch.cat([boxes, torch.zeros(1, 4)])[kept],
            torch.cat([scores, last - 1])[kept],
            torch.cat([groups, last])[kept],
        )


def _large(boxes: torch.Tensor, side: float) -> torch.Tensor:
    return (boxes[:, 2] - boxes[:, 0] >= side) & (boxes[:, 3] - boxes[:, 1] >= side)


def _pooled(pool: Any, features: Features, boxes: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Return (n, c, s, s), each box read from the level that `MultiScaleRoIAlign` would choose."""
    maps = [features[name] for name in pool.featmap_names]
    strides = [round(math.log2(size[0] / each.shape[-2])) for each in maps]
    rois = torch.cat([torch.zeros(len(boxes), 1), boxes], dim=1)
    side = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sqrt()
    level = torch.floor(pool.canonical_level + torch.log2(side / pool.canonical_scale) + EDGE)
    level = level.clamp(strides[0], strides[-1]) - strides[0]
    read = [
        roi_align(each, rois, pool.output_size, 2.0**-stride, pool.sampling_ratio)
        for each, stride in zip(maps, strides, strict=True)
    ]
    found = read[0]
    for number, each in enumerate(read[1:], 1):
        found = torch.where((level == number).view(-1, 1, 1, 1), each, found)
    return found
