"""One model family in a process of its own, with the libraries of `parity.txt`: what `benchmarks.parity` starts.

`python parity_worker.py FAMILY SEED PICTURES FOLDER WEIGHTS` builds a small network of the family, gives it random
weights that make it find things (or takes a file of the folder WEIGHTS), exports it into FOLDER/model.onnx by the
library's own exporter where it has one and by `export.from_torch` where it has none, and writes FOLDER/own.npz: what
the library's own pre- and post-processing say of each picture of the folder PICTURES, classes numbered as in a bundle,
0 for the background. FOLDER/keys.json has what a recipe must say of the file. Of ours it imports `export.from_torch`
alone.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

SCORE, IOU = 0.25, 0.5
LIMIT_S = 900
CLASSES = 5  # of every network, the background among them where the family has one
IMAGENET: dict[str, Any] = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
SPREAD = 2.0  # standard deviation of the logits of random networks
SHARE = 0.01  # of their boxes, of each class, that are to be above the score
LARGER = 1.4  # logarithm of how much larger boxes of queries are to be
NEVER = -20.0  # a logit
LOGIT = float(np.log(SCORE / (1 - SCORE)))
Run = Callable[[], Any]
Keys = dict[str, Any]


class Own:
    """What the library's own post-processing says, picture by picture."""

    def __init__(self) -> None:
        self.arrays: dict[str, Any] = {}  # NumPy's
        self.count = 0

    def labels(self, classes: Any) -> None:
        """Add a label map (h, w)."""
        self.arrays[f"labels_{self.count}"] = np.asarray(classes, np.int64)
        self.count += 1

    def objects(self, boxes: Any, scores: Any, classes: Any, masks: Any) -> None:
        """Add boxes (n, 4), scores (n,), classes (n,) and masks (n, h, w)."""
        self.arrays[f"boxes_{self.count}"] = np.asarray(boxes, np.float32).reshape(-1, 4)
        self.arrays[f"scores_{self.count}"] = np.asarray(scores, np.float32)
        self.arrays[f"classes_{self.count}"] = np.asarray(classes, np.int64)
        found = np.asarray(masks, np.bool_) if len(boxes) else np.zeros((0, 1, 8), np.bool_)
        self.arrays[f"masks_{self.count}"] = np.packbits(found, axis=-1)
        self.count += 1


def tensors(images: Sequence[Array], normalize: bool) -> list[Any]:
    """Return pictures (h, w, 3) uint8 BGR as (1, 3, h, w) float32 RGB, 0 to 1, or as ImageNet's networks want them."""
    torch = importlib.import_module("torch")
    found = [
        torch.from_numpy(np.ascontiguousarray(i[..., ::-1].transpose(2, 0, 1)[None])).float() / 255 for i in images
    ]
    mean, std = (torch.tensor(IMAGENET[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    return [(each - mean) / std for each in found] if normalize else found


def warmed(net: Any, run: Run) -> None:
    """Set the statistics of batch normalisation to those of what `run` sees: untrained ones let signals die."""
    torch = importlib.import_module("torch")
    kinds = torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.BatchNorm3d
    norms = [each for each in net.modules() if isinstance(each, kinds)]
    net.eval()
    for norm in norms:
        norm.train()
        norm.reset_running_stats()
        norm.momentum = None  # the mean of all that is seen
    with torch.no_grad():
        run()
    net.eval()


def spread(layer: Any, run: Run, *, share: float | None = None, std: float = SPREAD, mean: float = 0.0) -> None:
    """Scale the last layer so that each of its outputs has that `mean` and deviation `std` over what `run` sees.

    With `share` its biases are then set so that this share of the values is above the score.
    """
    torch = importlib.import_module("torch")
    seen: list[Any] = []
    hook = layer.register_forward_hook(lambda _layer, _given, out: seen.append(out.detach()))
    with torch.no_grad():
        run()
        hook.remove()
        axis = 1 if seen[0].ndim == 4 else seen[0].ndim - 1
        values = torch.cat([each.movedim(axis, 0).flatten(1) for each in seen], dim=1)
        middle, gain = values.mean(dim=1), std / values.std(dim=1).clamp(min=1e-6)
        lift = torch.full_like(gain, mean)
        if share is not None:
            lift = LOGIT - ((values - middle[:, None]) * gain[:, None]).quantile(1 - share, dim=1)
        old = layer.bias if layer.bias is not None else torch.zeros_like(gain)
        layer.weight.mul_(gain.view(-1, *[1] * (layer.weight.ndim - 1)))
        layer.bias = torch.nn.Parameter((old - middle) * gain + lift)


def smooth(*parts: Any) -> None:
    """Let each convolution average over its window: masks of blobs, as trained ones are, not of single cells."""
    torch = importlib.import_module("torch")
    with torch.no_grad():
        for layer in (each for part in parts for each in part.modules() if hasattr(each, "kernel_size")):
            layer.weight.copy_(layer.weight.mean(dim=(2, 3), keepdim=True).expand_as(layer.weight).clone())


def named(count: int, *, background: bool) -> list[str]:
    """Return `count` names of classes."""
    return ["background", *(f"c{i}" for i in range(1, count))] if background else [f"c{i}" for i in range(count)]


def semantic(net: Any, layer: Any, images: Sequence[Array], path: Path, own: Own, **given: Any) -> Keys:
    """Export a network that gives a label map by `from_torch`; `given` has `post`, from outputs to labels."""
    torch = importlib.import_module("torch")
    post, extra = given.pop("post"), {**IMAGENET, **given}
    pictures = tensors(images, normalize=True)

    def run() -> Any:
        return net(torch.cat(pictures))

    warmed(net, run)
    spread(layer, run)
    with torch.no_grad():
        for each in pictures:
            own.labels(post(net(each)))
    importlib.import_module("export").from_torch(net, pictures[0], path, **extra)
    return {}


def torchvision_segmentation(name: str) -> Callable[..., Keys]:
    """https://docs.pytorch.org/vision/stable/models.html#semantic-segmentation: `["out"].argmax(1)`."""

    def build(images: Sequence[Array], path: Path, own: Own) -> Keys:
        kinds = importlib.import_module("torchvision.models.segmentation")
        net = getattr(kinds, name)(weights=None, weights_backbone=None, num_classes=CLASSES)
        last = net.classifier[-1] if name.startswith("deeplab") else net.classifier.high_classifier
        classes = named(CLASSES, background=True)
        return semantic(net, last, images, path, own, classes=classes, post=lambda out: out["out"][0].argmax(0))

    return build


def smp(name: str, count: int) -> Callable[..., Keys]:
    """https://smp.readthedocs.io: arg max of the logits, or a probability above 0.5 where there is one class."""

    def build(images: Sequence[Array], path: Path, own: Own) -> Keys:
        kinds = importlib.import_module("segmentation_models_pytorch")
        net = getattr(kinds, name)("resnet18", encoder_weights=None, classes=count)
        post = (lambda out: out[0].argmax(0)) if count > 1 else (lambda out: out[0, 0].sigmoid() > 0.5)
        extra: Keys = {} if count > 1 else {"head": "binary"}
        classes = named(max(count, 2), background=True)
        return semantic(net, net.segmentation_head[0], images, path, own, classes=classes, post=post, **extra)

    return build


def segformer(images: Sequence[Array], path: Path, own: Own) -> Keys:
    """https://huggingface.co/docs/transformers/model_doc/segformer: `post_process_semantic_segmentation`."""
    kinds = importlib.import_module("transformers")
    sizes = {"depths": [1, 1, 1, 1], "hidden_sizes": [16, 32, 64, 96], "decoder_hidden_size": 64}
    net = kinds.SegformerForSemanticSegmentation(kinds.SegformerConfig(num_labels=CLASSES, **sizes))
    size = images[0].shape[:2]
    read = kinds.SegformerImageProcessor().post_process_semantic_segmentation
    classes = named(CLASSES, background=True)

    def post(out: Any) -> Any:
        return read(out, target_sizes=[size])[0]

    return semantic(net, net.decode_head.classifier, images, path, own, classes=classes, post=post)


def mask_rcnn(images: Sequence[Array], path: Path, own: Own) -> Keys:
    """https://docs.pytorch.org/vision/stable/models/mask_rcnn.html: masks above 0.5; pictures are not resized."""
    torch, detection = importlib.import_module("torch"), importlib.import_module("torchvision.models.detection")
    backbones = importlib.import_module("torchvision.models.detection.backbone_utils")
    backbone = backbones.resnet_fpn_backbone(backbone_name="resnet18", weights=None)
    height, width = images[0].shape[:2]
    faster = importlib.import_module("torchvision.models.detection.faster_rcnn")
    masks = importlib.import_module("torchvision.models.detection.mask_rcnn")
    small: Keys = {
        "box_head": faster.TwoMLPHead(backbone.out_channels * 7 * 7, 64),
        "box_predictor": faster.FastRCNNPredictor(64, CLASSES),
        "mask_head": masks.MaskRCNNHeads(backbone.out_channels, (32,), 1),
        "mask_predictor": masks.MaskRCNNPredictor(32, 32, CLASSES),
        "rpn_post_nms_top_n_test": 100,
        "box_detections_per_img": 20,
    }
    net = detection.MaskRCNN(backbone, min_size=min(height, width), max_size=max(height, width), **small)
    pictures = [each[0] for each in tensors(images, normalize=False)]

    def run() -> Any:
        return net(pictures)

    net.eval()
    for layer in (net.rpn.head.cls_logits, net.roi_heads.box_predictor.cls_score):
        spread(layer, run)
    spread(net.rpn.head.bbox_pred, run, std=0.3)
    spread(net.roi_heads.box_predictor.bbox_pred, run, std=0.5)
    smooth(net.roi_heads.mask_head, net.roi_heads.mask_predictor.conv5_mask)
    spread(net.roi_heads.mask_predictor.mask_fcn_logits, run)
    with torch.no_grad():
        for found in run():
            kept = found["scores"] >= SCORE
            boxes, scores, labels = (found[key][kept] for key in ("boxes", "scores", "labels"))
            own.objects(boxes, scores, labels, found["masks"][kept][:, 0] > 0.5)
    classes = named(CLASSES, background=True)
    importlib.import_module("export").from_torch(net, pictures[0][None], path, role="instance", classes=classes)
    return {}


def rf_detr(images: Sequence[Array], path: Path, own: Own) -> Keys:
    """https://rfdetr.roboflow.com: `predict`, `export`; a square input."""
    kinds = importlib.import_module("rfdetr")
    side = images[0].shape[0]
    given = {"resolution": side, "positional_encoding_size": side // 12, "num_queries": 60, "num_select": 60}
    model = kinds.RFDETRSegNano(pretrain_weights=None, num_classes=CLASSES, device="cpu", **given)
    net = model.model.model
    pictures = tensors(images, normalize=True)
    net.eval()
    spread(net.class_embed, lambda: [net(each) for each in pictures], share=0.05)
    torch = importlib.import_module("torch")
    with torch.no_grad():
        net.bbox_embed.layers[-1].bias[2:] += LARGER
        net.class_embed.bias[-1] = NEVER  # the last class is one that training never shows
    for image in images:
        found = model.predict(np.ascontiguousarray(image[..., ::-1]), threshold=SCORE)
        own.objects(found.xyxy, found.confidence, found.class_id + 1, found.mask)
    made = model.export(output_dir=str(path.parent), verbose=False)
    files = [made] if Path(made).is_file() else list(path.parent.glob("*.onnx"))
    Path(files[0]).rename(path)
    return {"classes": named(CLASSES, background=False), **IMAGENET}


def ultralytics(config: str, *, nms: bool | None = None) -> Callable[..., Keys]:
    """https://docs.ultralytics.com/modes/predict: `YOLO(file.onnx)(picture)`, with the exporter's own file."""

    def build(images: Sequence[Array], path: Path, own: Own) -> Keys:
        yolo = importlib.import_module("ultralytics").YOLO
        model = yolo(_with_classes(config, path.parent), verbose=False)
        net, pictures = model.model, tensors(images, normalize=False)

        def run() -> Any:
            return net(importlib.import_module("torch").cat(pictures))

        warmed(net, run)
        head = net.model[-1]
        if config.endswith("-sem"):
            spread(head.classifier[-1], run)
        else:
            for name in ("cv3", "one2one_cv3"):
                for branch in getattr(head, name, None) or []:
                    spread(branch[-1], run, share=SHARE)
            for branch in (*head.cv4, *(getattr(head, "one2one_cv4", None) or [])):
                spread(branch[-1], run, std=1.0, mean=0.3)  # more of each box inside than outside
        height, width = images[0].shape[:2]
        made = model.export(format="onnx", imgsz=(height, width), simplify=False, verbose=False, nms=nms)
        Path(made).rename(path)
        return _ultralytics_own(path, "semantic" if config.endswith("-sem") else "segment", images, own)

    return build


def ultralytics_file(images: Sequence[Array], path: Path, own: Own) -> Keys:
    """The same with given weights."""
    path.write_bytes((weights() / "yolov8n-seg_320.onnx").read_bytes())
    return _ultralytics_own(path, "segment", images, own)


def plain(file: str, count: int, scale: float | None) -> Callable[..., Keys]:
    """A network of the weights' folder as it is, run by onnxruntime: class numbers, or the arg max of its logits.

    Channels last; `scale` s means that a pixel is s * value - 1, None that bytes go in.
    """

    def build(images: Sequence[Array], path: Path, own: Own) -> Keys:
        path.write_bytes((weights() / file).read_bytes())
        session = importlib.import_module("onnxruntime").InferenceSession(str(path))
        name = session.get_inputs()[0].name
        for image in images:
            pixels = image[None, ..., ::-1]
            given = pixels if scale is None else (pixels * np.float32(scale) - np.float32(1)).astype(np.float32)
            (found,) = session.run(None, {name: np.ascontiguousarray(given)})
            own.labels(found[0].argmax(axis=-1) if found.ndim == 4 else found[0])
        keys: Keys = {"classes": named(count, background=True)}
        return keys | ({"precision": "as is"} if scale is None else {"scale": scale, "mean": 1.0})

    return build


def weights() -> Path:
    """Return the folder of trained weights."""
    return Path(sys.argv[5])


def _ultralytics_own(path: Path, task: str, images: Sequence[Array], own: Own) -> Keys:
    model = importlib.import_module("ultralytics").YOLO(str(path), task=task)
    size = images[0].shape[:2]
    for image in images:
        found = model.predict(image, imgsz=size, conf=SCORE, iou=IOU, verbose=False, device="cpu")[0]
        if task == "semantic":
            own.labels(found.semantic_mask.data + 1)
        else:
            masks = None if found.masks is None else found.masks.data
            own.objects(found.boxes.xyxy, found.boxes.conf, found.boxes.cls + 1, masks)
    return {"iou": IOU} if task == "segment" else {}


def _with_classes(config: str, folder: Path) -> str:
    """Return a copy of one of its configurations with our number of classes."""
    root = Path(importlib.import_module("ultralytics").__path__[0]) / "cfg" / "models"
    plain = config.replace("yolov8n", "yolov8").replace("yolo11n", "yolo11").replace("yolo26n", "yolo26")
    text = next(root.rglob(f"{plain}.yaml")).read_text()
    lines = [f"nc: {CLASSES}" if line.startswith("nc:") else line for line in text.splitlines()]
    made = folder / f"{config}.yaml"
    made.write_text("\n".join(lines))
    return str(made)


FAMILIES: Mapping[str, Callable[..., Keys]] = {
    "deeplabv3": torchvision_segmentation("deeplabv3_mobilenet_v3_large"),
    "lraspp": torchvision_segmentation("lraspp_mobilenet_v3_large"),
    "smp_unet": smp("Unet", CLASSES),
    "smp_fpn": smp("FPN", CLASSES),
    "smp_unet_binary": smp("Unet", 1),
    "segformer": segformer,
    "mask_rcnn": mask_rcnn,
    "rf_detr_seg": rf_detr,
    "yolov8_seg": ultralytics("yolov8n-seg"),
    "yolo11_seg": ultralytics("yolo11n-seg"),
    "yolo11_seg_nms": ultralytics("yolo11n-seg", nms=True),
    "yolo26_seg": ultralytics("yolo26n-seg"),
    "yolo26_seg_end2end": ultralytics("yolo26n-seg", nms=False),
    "yolo26_sem": ultralytics("yolo26n-sem"),
    "yolov8_seg_trained": ultralytics_file,
    "logits_trained": plain("deeplabv3_voc_257.onnx", 21, 1 / 127.5),
    "argmax_trained": plain("deeplab_cityscapes_513_int8.onnx", 19, None),
}


def pictures_in(folder: Path) -> Iterable[Array]:
    """Yield the pictures of a folder, (h, w, 3) uint8 BGR, by name."""
    for path in sorted(folder.glob("*.png")):
        yield np.asarray(cv2.imread(str(path)), np.uint8)


def main() -> int:
    """Build, export and ask one family; what libraries print goes to the standard error."""
    sys.stdout = sys.stderr
    family, seed, pictures, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4])
    torch = importlib.import_module("torch")
    torch.manual_seed(seed)
    torch.set_num_threads(2)
    apart: Any = importlib.import_module("export.apart")
    apart.SECONDS = LIMIT_S  # the clock's limit is for hostile files
    own = Own()
    keys = FAMILIES[family](list(pictures_in(pictures)), folder / "model.onnx", own)
    np.savez(folder / "own.npz", **own.arrays)
    (folder / "keys.json").write_text(json.dumps(keys))
    return 0


if __name__ == "__main__":
    sys.exit(main())
