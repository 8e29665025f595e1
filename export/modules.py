"""A PyTorch module -> an ONNX file that says of itself how it is read."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.errors import FoveateError
from export.errors import ModelError

if TYPE_CHECKING:  # what uses no torch does not wait for these
    from edge.bundle import Role
    from export.recipe import Channels, Color, Instance, Semantic

OPSET = 18
LIMIT = 300  # characters of the exporter's own words that are passed on
HOW = "pip install -e '.[torch]', or pip install torch onnxscript"


def from_torch(
    module: Any,
    example: Any,
    path: Path,
    *,
    role: Role = "semantic",
    head: str | None = None,
    classes: Sequence[str] = (),
    background: bool | None = None,
    color: Color = "rgb",
    scale: float = 1 / 255,
    mean: Channels = 0.0,
    std: Channels = 1.0,
    enlarge: bool | None = None,
) -> Path:
    """Write `module` as ONNX file `path`, with what a recipe would say of it inside, and return `path`.

    `module` is a `torch.nn.Module` with its weights, which is put into evaluation mode; `example` is a picture
    (1, 3, h, w) float32 as it wants it, whose size becomes the model's. What it gives may be a tensor, a tuple, or a
    mapping, whose keys become the names of the outputs. `role` is "semantic" or "instance"; the others have the names
    and meanings of a recipe's keys, and a recipe that names the file need not repeat them. A torchvision Mask R-CNN is
    written without its control flow (`export/mask_rcnn.py`).

    The file is then taken in like any other. Raises `ModelError` where torch is missing, `module` is no module (files
    of `torch.save` are never loaded), torch cannot export it, or the file cannot be taken in; no file is left then.
    """
    torch = _torch()
    _check_given(torch, module, example)
    from export.metadata import HUGGING_FACE_INPUT, Told, tell  # noqa: PLC0415  needs onnx

    with tempfile.TemporaryDirectory(prefix=".export.", dir=_folder(path)) as folder:
        new = Path(folder) / path.name
        model = _exported(torch, module, torch.as_tensor(example, dtype=torch.float32), new)
        if enlarge is None and model.graph.input[0].name == HUGGING_FACE_INPUT:
            enlarge = True
        told = Told(
            head=head, classes=list(classes) or None, background=background, color=color,
            scale=scale, mean=mean, std=std, enlarge=enlarge,
        )  # fmt: skip
        tell(model, told)
        new.write_bytes(model.SerializeToString(deterministic=True))
        _check(new, role, path)
        new.replace(path)
    return path


def _torch() -> Any:
    try:
        importlib.import_module("onnxscript")  # what torch exports with
        return importlib.import_module("torch")
    except ImportError as error:
        raise ModelError(f"from_torch: needs {error.name}, which is not installed; {HOW}") from error


def _check_given(torch: Any, module: Any, example: Any) -> None:
    """Raise `ModelError` unless these are a module and a picture."""
    if not isinstance(module, torch.nn.Module):
        raise ModelError(
            f"from_torch: got {type(module).__name__}, no module; pickles are never loaded here: build the module, "
            "give it its weights (torch.load with weights_only=True, or safetensors), and hand it over"
        )
    shape = tuple(getattr(example, "shape", ()))
    if len(shape) != 4 or shape[:2] != (1, 3):
        raise ModelError(f"from_torch: example is {list(shape)}; give one picture, [1, 3, h, w]")


def _folder(path: Path) -> Path:
    if not path.parent.is_dir():
        raise ModelError(f"from_torch: path {path}: there is no folder {path.parent}; create it first")
    return path.parent


def _exported(torch: Any, module: Any, example: Any, path: Path) -> Any:
    """Return the ONNX model of `module`, its weights inside."""
    import onnx  # noqa: PLC0415

    try:
        with torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):
            flat, names = _flat(torch, module, example)
            torch.onnx.export(
                flat.eval(), (example,), str(path), dynamo=True, opset_version=OPSET, external_data=False,
                input_names=[_input_name(module)], output_names=names,
            )  # fmt: skip
    except Exception as error:  # whatever the exporter raises is a refusal of its
        said = " ".join(str(error).split())[:LIMIT]
        raise ModelError(
            f"from_torch: torch {torch.__version__} cannot export {type(module).__name__}: {said}; export it to "
            "ONNX by the library's own means, and name that file in the recipe"
        ) from error
    return onnx.load(str(path))


def _flat(torch: Any, module: Any, example: Any) -> tuple[Any, list[str]]:
    """Return a module that gives a tuple of tensors, and their names."""
    if any(kind.__name__ == "MaskRCNN" for kind in type(module).__mro__):
        from export.mask_rcnn import OUTPUTS, FixedMaskRcnn  # noqa: PLC0415  needs torch and torchvision

        return FixedMaskRcnn(module, tuple(example.shape[2:])), list(OUTPUTS)

    class Flat(torch.nn.Module):  # type: ignore[misc]
        """The module, its outputs as a tuple."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, picture: Any) -> tuple[Any, ...]:
            return tuple(_tensors(torch, self.inner(picture)).values())

    module.eval()
    return Flat(), list(_tensors(torch, module(example)))


def _tensors(torch: Any, given: Any) -> dict[str, Any]:
    """Return the tensors that a module gives by name; what is no tensor is left out."""
    if isinstance(given, torch.Tensor):
        return {"output": given}
    pairs = given.items() if isinstance(given, Mapping) else ((f"output{i}", each) for i, each in enumerate(given))
    return {str(name): each for name, each in pairs if isinstance(each, torch.Tensor)}


def _input_name(module: Any) -> str:
    return next(iter(inspect.signature(module.forward).parameters), "image")


def _check(new: Path, role: Role, path: Path) -> None:
    """Take the file in as an export does, alone."""
    from export.apart import take_in  # noqa: PLC0415
    from export.recipe import Instance, Semantic  # noqa: PLC0415

    source: Semantic | Instance = Instance(model=new) if role == "instance" else Semantic(model=new)
    try:
        take_in(role, source)
    except FoveateError as error:
        raise type(error)(str(error).replace(str(new), str(path))) from error
