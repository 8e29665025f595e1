"""Modules and functions stay small enough to be read."""

from __future__ import annotations

import ast
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("edge", "export", "calibration", "deploy")
MODULE_LINES, FUNCTION_LINES, USUAL_LINES = 300, 60, 35  # USUAL_LINES: nine functions of ten are no longer


def files() -> list[Path]:
    return sorted(chain.from_iterable((ROOT / folder).rglob("*.py") for folder in FOLDERS))


def functions(path: Path) -> list[tuple[str, int]]:
    """Return name and lines of every function in `path`, from its first decorator to its last line."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            found.append((f"{path.relative_to(ROOT)}:{node.name}", (node.end_lineno or first) - first + 1))
    return found


def test_modules() -> None:
    lines = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in files()}
    assert {name: count for name, count in lines.items() if count > MODULE_LINES} == {}


def test_functions() -> None:
    lengths = dict(chain.from_iterable(functions(path) for path in files()))
    assert {name: count for name, count in lengths.items() if count > FUNCTION_LINES} == {}


@pytest.mark.parametrize("folder", FOLDERS)
def test_most_functions_are_short(folder: str) -> None:
    lengths = sorted(count for path in (ROOT / folder).rglob("*.py") for _, count in functions(path))
    assert lengths[len(lengths) * 9 // 10] <= USUAL_LINES
