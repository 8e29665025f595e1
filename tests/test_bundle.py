"""The only way a model file gets in."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.bundle import FORMAT, MANIFEST_LIMIT_BYTES, Bundle, open_bundle, read_engine, read_file
from edge.errors import BundleError

MODEL = bytes(range(256)) * 4


def manifest(**changes: Any) -> dict[str, Any]:
    """Return the manifest of a bundle with one model of one file."""
    engine = {
        "runtime": "onnxruntime",
        "precision": "int8",
        "file": "model.onnx",
        "size": len(MODEL),
        "sha256": hashlib.sha256(MODEL).hexdigest(),
    }
    tensor = {"name": "image", "shape": [4, 6, 3], "dtype": "uint8"}
    model = {
        "classes": ["background", "part"],
        "head": {"family": "labels"},
        "input": tensor,
        "outputs": [{"name": "labels", "shape": [2, 3], "dtype": "uint8"}],
        "engines": [{**engine, **changes.pop("engine", {})}],
    }
    return {"format": FORMAT, "name": "b", "version": "1", "created": "now", "models": {"semantic": model}, **changes}


def write(folder: Path, content: dict[str, Any] | bytes | None = None, data: bytes = MODEL) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    raw = content if isinstance(content, bytes) else msgspec.json.encode(content or manifest())
    (folder / "manifest.json").write_bytes(raw)
    (folder / "model.onnx").write_bytes(data)
    return folder


def model_bytes(bundle: Bundle) -> bytes:
    return read_engine(bundle, bundle.manifest.models["semantic"].engines[0])


def refusal(folder: Path) -> str:
    """Return the one line on a bundle that may not be loaded."""
    with pytest.raises(BundleError) as caught:
        model_bytes(open_bundle(folder))
    assert caught.value.exit_code == 65
    assert "\n" not in str(caught.value)
    assert f"bundle {folder}: " in str(caught.value)
    return str(caught.value)


def test_a_sound_bundle_gives_its_models_bytes(tmp_path: Path) -> None:
    bundle = open_bundle(write(tmp_path))
    assert bundle.manifest.name == "b"
    assert bundle.manifest.models["semantic"].input.shape == (4, 6, 3)
    assert model_bytes(bundle) == MODEL


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(MODEL) - 1), st.integers(1, 255))
def test_one_altered_byte_is_refused(tmp_path: Path, where: int, by: int) -> None:
    altered = bytearray(MODEL)
    altered[where] ^= by
    assert "was altered, copy the bundle again" in refusal(write(tmp_path, data=bytes(altered)))


@pytest.mark.parametrize("data", [b"", MODEL[:-1], MODEL + b"\0"])
def test_a_file_of_another_size_is_refused(tmp_path: Path, data: bytes) -> None:
    assert "model.onnx has" in refusal(write(tmp_path, data=data))


@pytest.mark.parametrize("missing", ["manifest.json", "model.onnx"])
def test_a_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    (write(tmp_path) / missing).unlink()
    assert f"cannot read {missing}: No such file or directory" in refusal(tmp_path)


def test_a_missing_folder_and_a_file_in_its_place_are_refused(tmp_path: Path) -> None:
    assert "make it with foveate export" in refusal(tmp_path / "none")
    (tmp_path / "file").touch()
    assert "is this a bundle folder?" in refusal(tmp_path / "file")


@pytest.mark.parametrize("name", ["manifest.json", "model.onnx"])
def test_links_are_refused_even_to_the_right_file(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path / "b")
    (folder / name).rename(tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    assert f"cannot read {name}" in refusal(folder)


@pytest.mark.parametrize("name", ["manifest.json", "model.onnx"])
@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_plain_file_is_refused(tmp_path: Path, make: Callable[[Path], None], name: str) -> None:
    (write(tmp_path) / name).unlink()
    make(tmp_path / name)
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert f"{name} is not a plain file" in refusal(tmp_path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize(
    "name", ["../model.onnx", "sub/model.onnx", "/etc/hostname", "", ".", "..", "a\0b", "sub/", "x" * 5000]
)
def test_names_that_lead_out_of_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path / "b", manifest(engine={"file": name}))
    (tmp_path / "model.onnx").write_bytes(MODEL)
    (tmp_path / "b" / "sub").mkdir()
    (tmp_path / "b" / "sub" / "model.onnx").write_bytes(MODEL)
    refusal(tmp_path / "b")


@pytest.mark.parametrize("size", [-1, 0, 1 << 62])
def test_a_size_that_cannot_be_is_refused(tmp_path: Path, size: int) -> None:
    assert "model.onnx has 1024 bytes" in refusal(write(tmp_path, manifest(engine={"size": size})))


def test_a_huge_manifest_is_refused_unread(tmp_path: Path) -> None:
    write(tmp_path, manifest(provenance={"x": "y" * MANIFEST_LIMIT_BYTES}))
    assert f"at most {MANIFEST_LIMIT_BYTES} are allowed" in refusal(tmp_path)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b'{"format":1,"x":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
        msgspec.json.encode(manifest())[:-1],
        msgspec.json.encode(manifest()).replace(b'"int8"', b'"int2"'),
        msgspec.json.encode(manifest()).replace(b'"name":"b"', b'"name":"\\ud800"'),
        msgspec.json.encode(manifest(surprise=1)),
        msgspec.json.encode(manifest(format="1")),
        msgspec.json.encode(manifest(models={"other": {}})),
    ],
    ids=range(14),
)
def test_a_manifest_that_cannot_be_understood_is_refused(tmp_path: Path, raw: bytes) -> None:
    assert "manifest.json is not valid" in refusal(write(tmp_path, raw))


@pytest.mark.parametrize("number", [0, FORMAT + 1, -1])
def test_another_format_is_refused_with_both_numbers(tmp_path: Path, number: int) -> None:
    said = refusal(write(tmp_path, manifest(format=number)))
    assert f"format {number}, this foveate reads format {FORMAT}" in said


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_no_bytes_whatever_raise_anything_but_a_bundle_error(tmp_path: Path, raw: bytes) -> None:
    assert "manifest.json is not valid" in refusal(write(tmp_path, raw or b"x"))


@settings(deadline=None)
@given(st.text(max_size=30))
def test_no_name_whatever_raises_anything_but_a_bundle_error(name: str) -> None:
    with pytest.raises(BundleError):
        read_file(Path("/nonexistent"), name, 10)


def model(family: str) -> dict[str, Any]:
    """Return the manifest's entry of a sound model with a head of one family: 16 x 8 pixels, 5 objects."""
    outputs: dict[str, dict[str, tuple[str, list[int]]]] = {
        "labels": {"labels": ("uint8", [4, 8]), "confidence": ("uint8", [4, 8])},
        "centers": {
            "peaks": ("int16", [5, 3]),
            "labels": ("uint8", [4, 8]),
            "offsets": ("int8", [2, 4, 8]),
            "defects": ("uint8", [8, 16]),
        },
        "prototypes": {
            "boxes": ("float32", [5, 4]),
            "scores": ("float32", [5]),
            "classes": ("uint8", [5]),
            "coefficients": ("float32", [5, 7]),
            "prototypes": ("float32", [7, 2, 4]),
        },
        "embedding": {"embedding": ("float32", [5])},
    }
    (engine,) = manifest()["models"]["semantic"]["engines"]
    return {
        "classes": [] if family == "embedding" else ["background", "part"],
        "head": {"family": family, "label_stride": 2 if family == "centers" else 1},
        "input": {"name": "image", "shape": [8, 16, 3], "dtype": "uint8"},
        "outputs": [{"name": name, "shape": s, "dtype": dtype} for name, (dtype, s) in outputs[family].items()],
        "engines": [engine],
        "defects": ["scratch"] if family == "centers" else [],
    }


def altered(value: Any, where: list[Any], new: Any) -> Any:
    """Return a copy of nested lists and objects in which one place holds something else; None takes it away."""
    if not where:
        return new
    first, *rest = where
    copy: Any = value.copy()
    if new is None and not rest:
        del copy[first]
    else:
        copy[first] = altered(value[first] if rest else None, rest, new)
    return copy


ROLES = {"labels": "semantic", "centers": "instance", "prototypes": "instance", "embedding": "appearance"}


@pytest.mark.parametrize("family", ROLES)
def test_every_family_as_documented_is_taken(tmp_path: Path, family: str) -> None:
    bundle = open_bundle(write(tmp_path, manifest(models={ROLES[family]: model(family)})))
    assert len(bundle.manifest.models) == 1


def pair(**changes: Any) -> dict[str, Any]:
    """Return a manifest with a semantic model and the same one at half its input."""
    semantic = manifest()["models"]["semantic"]
    coarse = msgspec.json.decode(msgspec.json.encode(semantic))
    coarse["input"]["shape"], coarse["outputs"][0]["shape"] = [2, 3, 3], [1, 2]
    return manifest(models={"semantic": semantic, "coarse": {**coarse, **changes}})


def test_a_coarse_model_is_the_semantic_one_at_a_smaller_input(tmp_path: Path) -> None:
    models = open_bundle(write(tmp_path, pair())).manifest.models
    assert models["coarse"].input.shape == (2, 3, 3)
    assert models["coarse"].classes == models["semantic"].classes


OTHER = {"name": "confidence", "shape": [1, 2], "dtype": "uint8"}
LABEL_MAP = {"name": "labels", "shape": [1, 2], "dtype": "uint8"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"classes": ["background", "other"]}, r"has classes \['background', 'other'\], the semantic one"),
        ({"classes": ["background", "part", "other"]}, "has classes"),
        ({"fit": "letterbox"}, "has fit letterbox, the semantic one stretch"),
        ({"fill": 0}, "has fill 0, the semantic one 114"),
        ({"outputs": [LABEL_MAP, OTHER]}, "has outputs"),
        ({"engines": []}, "has engines"),
        ({"input": {"name": "image", "shape": [4, 6, 3], "dtype": "uint8"}}, "has an input of .* no smaller than"),
        ({"head": {"family": "centers"}}, "has a head of family"),
    ],
)
def test_a_coarse_model_that_differs_in_more_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    assert re.search(f"the coarse model {said}", refusal(write(tmp_path, pair(**changes))))


def test_a_coarse_model_alone_is_refused(tmp_path: Path) -> None:
    alone = pair()
    del alone["models"]["semantic"]
    with pytest.raises(BundleError, match="the coarse model is there, and the semantic one is not"):
        open_bundle(write(tmp_path, alone))


@pytest.mark.parametrize(
    ("family", "role"),
    [
        ("labels", "instance"),
        ("centers", "semantic"),
        ("prototypes", "semantic"),
        ("embedding", "instance"),
        ("labels", "appearance"),
    ],
)
def test_a_head_that_does_not_fit_its_role_is_refused(tmp_path: Path, family: str, role: str) -> None:
    assert f"the {role} model has a head of family '{family}'" in refusal(
        write(tmp_path, manifest(models={role: model(family)}))
    )


@pytest.mark.parametrize(
    ("family", "where", "new"),
    [
        ("labels", ["head", "score"], -0.1),
        ("labels", ["head", "score"], 1.5),
        ("labels", ["head", "iou"], 2),
        ("labels", ["head", "label_stride"], 0),
        ("labels", ["head", "label_stride"], -1),
        ("labels", ["head", "offset_px"], 0),
        ("labels", ["fill"], 999),
        ("labels", ["fill"], -1),
        ("labels", ["classes"], []),
        ("labels", ["classes"], ["background"]),
        ("labels", ["classes"], ["c"] * 257),
        ("labels", ["defects"], ["scratch"]),
        ("labels", ["input", "shape"], [8, 16]),
        ("labels", ["input", "shape"], [8, 16, 1]),
        ("labels", ["input", "shape"], [0, 16, 3]),
        ("labels", ["input", "dtype"], "float32"),
        ("labels", ["outputs"], []),
        ("labels", ["outputs", 0], None),
        ("labels", ["outputs", 0, "shape"], [-4, 8]),
        ("labels", ["outputs", 0, "shape"], [1, 4, 8]),
        ("labels", ["outputs", 1, "shape"], [4, 9]),
        ("labels", ["outputs", 1, "name"], "labels"),
        *[("centers", ["outputs", i], None) for i in range(4)],
        *[("centers", ["outputs", i, "dtype"], "float32") for i in range(4)],
        *[("centers", ["outputs", i, "shape", -1], 9) for i in range(4)],
        ("centers", ["outputs", 0, "shape", 0], 0),
        ("centers", ["head", "label_stride"], 3),
        ("centers", ["head", "label_stride"], 1),
        ("centers", ["defects"], ["d"] * 256),
        *[("prototypes", ["outputs", i], None) for i in range(5)],
        *[("prototypes", ["outputs", i, "dtype"], "float64") for i in range(5)],
        *[("prototypes", ["outputs", i, "shape", 0], 6) for i in range(5)],
        ("prototypes", ["outputs", 4, "shape"], [7, 4, 4]),
        ("prototypes", ["input", "shape"], [10, 16, 3]),
        ("prototypes", ["defects"], ["d"] * 255),
        ("embedding", ["classes"], ["background", "part"]),
        ("embedding", ["defects"], ["scratch"]),
        ("embedding", ["outputs", 0], None),
        ("embedding", ["outputs", 0, "dtype"], "uint8"),
        ("embedding", ["outputs", 0, "shape"], [1, 5]),
        ("embedding", ["input", "shape"], [4, 8, 16, 3]),
    ],
)
def test_a_model_that_could_not_be_read_is_refused_at_open(
    tmp_path: Path, family: str, where: list[str | int], new: Any
) -> None:
    said = refusal(write(tmp_path, manifest(models={ROLES[family]: altered(model(family), where, new)})))
    assert "not valid" in said or "model has" in said
