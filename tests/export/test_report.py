"""The report's page: what there is is shown, what there is not is not, and nothing comes from elsewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.bundle import EngineFile, Head, Manifest, Model, TensorSpec
from export.bounds import Loss
from export.cascade import Result
from export.charts import bars, scatter
from export.flips import MOST, Flips
from export.heldout import true_instances
from export.judge import Verdict
from export.plans import layers_of, plans_of
from export.report import write_report
from export.search import Search, Trial
from export.shown import Plan, Seen, Shown
from export.trial import Tried

MODEL = Model(
    ["background", "nut", "bolt"],
    Head("centers"),
    TensorSpec("image", (8, 8, 3), "uint8"),
    [],
    [EngineFile("onnxruntime", "int8", "instance.int8.onnx", 5, "ab" * 32)],
    defects=["scratch"],
)
MANIFEST = Manifest(1, "screws <b>", "2", "2026-01-01T00:00:00Z", {"instance": MODEL})
TIMES = ("instance_int8_ms", "instance_int8_ms_p10", "instance_int8_ms_p90")
JPEG = b"\xff\xd8picture"


def searched(layers: int) -> Search:
    """Return a search that ended with two layers in float, after a plan that lost too much."""
    losses = [Loss("ap_lost", "mask AP", 0.9, value, 0.002) for value in (0.8, 0.899)]
    trials = [Trial("mse", i * 2, b"", [loss], 4.0 + i, 2.0) for i, loss in enumerate(losses)]
    return Search(trials, {f"conv <{i}>": float(layers - i) for i in range(layers)}, 9.0)


class _Page(HTMLParser):
    """Counts what is opened and what is loaded."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loaded += [value or "" for name, value in attrs if name in {"src", "href"}]


def page(folder: Path, verdict: Verdict, shown: Shown) -> str:
    write_report(folder, MANIFEST, verdict, shown)
    return (folder / "report.html").read_text(encoding="utf-8")


def test_what_is_empty_is_not_shown(tmp_path: Path) -> None:
    text = page(tmp_path, Verdict(), Shown())
    assert re.findall("<h2>(.*?)</h2>", text) == ["Files"]
    assert "screws &lt;b&gt; 2" in text


def test_everything_is_shown_and_nothing_comes_from_elsewhere(tmp_path: Path) -> None:
    figures = {"heldout_frames": 3.0} | dict.fromkeys(TIMES, 2.0)
    verdict = Verdict(figures, searches={"instance": searched(40)})
    shown = Shown(
        [Tried("instance", "as the recipe says", 0.8), Tried("instance", 'color = "bgr"', -0.2)],
        [Seen("7/12: light 90", "cd" * 32, JPEG)],
        {7: "line"},
        "ef" * 32,
        {"recipe.toml": "12" * 32},
        ["<script>"],
    )
    text = page(tmp_path, verdict, shown)
    for said in ("conv &lt;0&gt;", "The worst 24 of 40", "7/12", "ef" * 32, "12" * 32, "ab" * 32, "&lt;script&gt;"):
        assert said in text
    found = _Page(text)
    assert found.tags.count("svg") == 3
    assert all(loaded.startswith("data:image/jpeg;base64,") for loaded in found.loaded)
    assert "script" not in found.tags
    assert "http" not in text


def test_a_search_is_plotted_with_all_its_plans_and_its_ranking() -> None:
    verdict = Verdict(searches={"instance": searched(5)})
    plans = plans_of(MANIFEST, verdict)
    assert [(one.name, one.ms, one.accuracy, one.kept) for one in plans] == [
        ("float", 9.0, 0.9, False),
        ("int8 mse", 4.0, 0.8, False),
        ("int8 mse, 2 layers float", 5.0, 0.899, True),
    ]
    assert "bounds.ap_lost is 0.002" in plans[1].note
    assert [layer.precision for layer in layers_of(verdict)] == ["float32"] * 2 + ["int8"] * 3


def test_without_a_search_the_measured_pair_is_the_plot() -> None:
    figures = {
        "instance_float32_ms": 9.0,
        "instance_int8_ms": 4.0,
        "instance_ap_float": 0.8,
        "instance_ap_bundle": 0.79,
    }
    first, second = plans_of(MANIFEST, Verdict(figures))
    assert (first.name, first.ms, first.accuracy, first.kept) == ("float32", 9.0, 0.8, False)
    assert (second.name, second.ms, second.accuracy, second.kept) == ("int8", 4.0, 0.79, True)
    del figures["instance_ap_float"]
    assert plans_of(MANIFEST, Verdict(figures)) == []
    figures["instance_pq_agreement"] = 0.97
    assert [plan.accuracy for plan in plans_of(MANIFEST, Verdict(figures))] == [1.0, 0.97]


@given(st.lists(st.tuples(st.floats(0.01, 1e4), st.floats(0, 1)), min_size=1, max_size=12))
def test_every_plan_is_inside_its_plot(found: list[tuple[float, float]]) -> None:
    drawn = scatter([Plan("semantic", "p", ms, accuracy, "mIoU") for ms, accuracy in found])
    places = re.findall(r'<circle class=\w+ cx="([-\d.]+)" cy="([-\d.]+)"', drawn)
    assert len(places) == len(found)
    assert all(74 <= float(x) <= 656 and 20 <= float(y) <= 312 for x, y in places)


@given(st.lists(st.floats(0, 1e6), max_size=8))
def test_bars_are_as_long_as_their_numbers(lengths: list[float]) -> None:
    drawn = bars([("name", length, "", False) for length in lengths])
    widths = [float(width) for width in re.findall(r'<rect class=bar .*? width="([\d.]+)"', drawn)]
    assert len(widths) == len(lengths)
    assert [widths[i] for i in np.argsort(lengths, kind="stable")] == sorted(widths)


def sides(first: dict[int, str], second: dict[int, str], marked: bool = False) -> Flips:
    """Return what differs between two sides that see squares: number -> class."""
    image = np.full((90, 160, 3), 120, np.uint8)
    results = []
    for kinds, defect in ((first, False), (second, marked)):
        ids, defects = np.zeros((90, 160), np.uint16), np.zeros((90, 160), np.uint8)
        for number in kinds:
            ids[20:44, 40 * number : 40 * number + 24] = number + 1
        defects[20:44] = defect
        named = {number + 1: kind for number, kind in kinds.items()}
        results.append(Result(None, None, true_instances(ids, defects, named, MODEL)))
    flips = Flips()
    flips.add("f", image, results[0], results[1], MODEL)
    return flips


@pytest.mark.parametrize(
    ("first", "second", "marked", "texts"),
    [
        ({0: "nut", 1: "bolt"}, {0: "nut", 1: "bolt"}, False, []),
        ({0: "nut", 1: "bolt"}, {0: "nut"}, False, ["bolt, 1.00: the bundle does not find it"]),
        ({0: "nut"}, {0: "nut", 2: "nut"}, False, ["nut, 1.00: only the bundle finds it"]),
        ({0: "nut"}, {0: "bolt"}, False, ["nut becomes bolt"]),
        ({0: "nut"}, {0: "nut"}, True, ["nut: no defect becomes scratch"]),
    ],
)
def test_decisions_that_differ_are_told(
    first: dict[int, str], second: dict[int, str], marked: bool, texts: list[str]
) -> None:
    flips = sides(first, second, marked)
    assert [flip.text for flip in flips.shown] == texts
    assert flips.count == len(texts)
    assert all(flip.picture.startswith(b"\xff\xd8") for flip in flips.shown)


def test_flips_are_counted_beyond_what_is_drawn() -> None:
    flips = Flips()
    for _ in range(MOST + 5):
        ids = np.zeros((90, 160), np.uint16)
        ids[20:44, 40:64] = 1
        one = Result(None, None, true_instances(ids, None, {1: "nut"}, MODEL))
        none = Result(None, None, true_instances(ids * 0, None, {}, MODEL))
        flips.add("f", np.zeros((90, 160, 3), np.uint8), one, none, MODEL)
    assert (flips.count, len(flips.shown)) == (MOST + 5, MOST)
