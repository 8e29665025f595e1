"""TOML -> typed configuration: what is wrong is said in one line that names the table, the key and the fix."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge import config
from edge.config import Config, check_point, class_numbers, load_config
from edge.config.tell_checks import check_shifts
from edge.errors import ConfigError

CAMERA = '[cameras.c]\nsource = "clip.mp4"\n'
HEAD = 'bundle = "bundle"\nstate = "state"\n'
LEAST = HEAD + CAMERA
LINE = '[[lines]]\nname = "a"\ncamera = "c"\nstart = [5, 0]\nend = [5, 9]\n'
ZONE = '[[zones]]\nname = "z"\ncamera = "c"\npoints = [[0, 0], [9, 0], [9, 9]]\nattention = "only"\n'
DWELL = '[[rules]]\nkind = "dwell"\nname = "d"\nzone = "z"\nseconds = 5\n'
FLOW = '[[rules]]\nkind = "against_flow"\nname = "f"\nzone = "z"\nflow = [0, 0]\ndistance_px = 5\n'
STATION = '[[rules]]\nkind = "slow_station"\nname = "s"\nzone = "z"\nplanned_s = 5\nnewest = 3\nleast = 4\n'
CONVERSION = '[[rules]]\nkind = "conversion"\nname = "v"\nzone = "z"\nto = "y"\nseconds = 5\n'
GATE = '[[gates]]\nname = "g"\ncamera = "c"\nstart = [5, 0]\nend = [5, 9]\ndirection = "right"\n'
GROWTH = '[[growth]]\nname = "z"\ncamera = "c"\n'
PRESENCE = '[[presence]]\nname = "p"\ncamera = "c"\nclasses = ["x"]\nplaces = { a = [[1, 2], [3, 4]] }\n'
SHIFT = '[[shifts]]\nname = "early"\nstart = "06:00"\nend = "14:00"\n'
NIGHT = '[[shifts]]\nname = "night"\nstart = "22:00"\nend = "06:01"\n'
MEASURE = "[cameras.c.measure]\nscale_u = 0.001\n"
TABLES = [
    kind for kind in vars(config).values()
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and not kind.__name__.startswith("_")
]  # fmt: skip


def load(folder: Path, text: str, name: str = "c.toml") -> Config:
    (folder / name).write_text(text, encoding="utf-8")
    return load_config(folder / name)


def refusal(folder: Path, text: str) -> str:
    """Return what is said about a configuration that is refused: one line that names the file."""
    with pytest.raises(ConfigError) as caught:
        load(folder, text)
    said = str(caught.value)
    assert "\n" not in said
    assert str(folder / "c.toml") in said
    assert caught.value.exit_code == 78
    return said


def test_the_least_configuration_has_all_defaults(tmp_path: Path) -> None:
    got = load(tmp_path, LEAST)
    assert got == Config(
        bundle=tmp_path / "bundle",
        state=tmp_path / "state",
        cameras={"c": config.Camera(source=str(tmp_path / "clip.mp4"))},
    )


def test_a_full_configuration_is_read(tmp_path: Path) -> None:
    text = (
        'site = "s"\nline = "l"\ndevice = "d"\nsimulated = true\n'
        + LEAST
        + 'fps = 30\n[models]\nprecision = "int8"\nthreads = 2\nscore = 0.5\n[regions]\nclasses = ["person"]\n'
        + LINE
        + 'direction = "left"\nonce = true\n'
        + GATE
        + "min_looks = 3\n[gates.defects.scratch]\nmin_area_px = 12\n"
        + '[mqtt]\nhost = "broker.example"\nport = 8883\nca_file = "ca.crt"\nreceivers = ["a", "b"]\n'
        + "[ledger]\nmax_mib = 9\n"
    )
    got = load(tmp_path, text)
    assert (got.site, got.line, got.device, got.simulated) == ("s", "l", "d", True)
    assert got.cameras["c"].fps == 30
    assert got.models == config.Models(precision="int8", threads=2, score=0.5)
    assert got.lines[0].direction == "left"
    assert got.gates[0].defects == {"scratch": config.DefectLimit(min_area_px=12)}
    assert got.mqtt is not None
    assert got.mqtt.ca_file == tmp_path / "ca.crt"
    assert got.mqtt.receivers == ["a", "b"]
    assert got.ledger.max_mib == 9


def test_rules_are_told_apart_by_their_kind(tmp_path: Path) -> None:
    zones = ZONE.replace('attention = "only"\n', 'anchor = "bottom"\n') + ZONE.replace('"z"', '"y"')
    got = load(tmp_path, LEAST + zones + DWELL + CONVERSION)
    assert got.rules == [
        config.Dwell(name="d", zone="z", seconds=5),
        config.Conversion(name="v", zone="z", to="y", seconds=5),
    ]
    assert [config.zones_of(rule) for rule in got.rules] == [["z"], ["z", "y"]]
    assert got.zones[0].attention is None
    assert got.zones[0].anchor == "bottom"
    again = load(tmp_path, msgspec.json.encode(got, enc_hook=str).decode(), "c.json")
    assert again == got


@pytest.mark.parametrize("source", ["usb:0", "rtsp://camera/stream", "http://camera/stream"])
def test_devices_and_addresses_are_no_paths(tmp_path: Path, source: str) -> None:
    assert load(tmp_path, HEAD + f'[cameras.c]\nsource = "{source}"\n').cameras["c"].source == source


def test_paths_are_relative_to_the_file_and_absolute_ones_stay(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    got = load(tmp_path / "sub", LEAST.replace('"state"', '"/var/lib/x"').replace('"bundle"', '"../bundle"'))
    assert got.state == Path("/var/lib/x")
    assert got.bundle.resolve() == (tmp_path / "bundle").resolve()


def test_json_says_the_same(tmp_path: Path) -> None:
    same = load(tmp_path, LEAST + LINE)
    assert load(tmp_path, msgspec.json.encode(same, enc_hook=str).decode(), "c.json") == same


@pytest.mark.parametrize("path", sorted(Path(__file__).parents[1].glob("examples/*/config.toml")), ids=str)
def test_the_examples_can_be_loaded(path: Path) -> None:
    assert load_config(path).cameras


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("bundel = 'x'\n" + LEAST, "did you mean `bundle`?"),
        (LEAST + "sorce = 'x'\n", "did you mean `source`?"),
        (LEAST + "[attention]\nretry_frame = 3\n", "did you mean `retry_frames`?"),
        (LEAST + LINE + "hysteresis = 3\n", "did you mean `hysteresis_px`?"),
        (LEAST + GATE + "[gates.defects.x]\nmin_area = 3\n", "did you mean `min_area_px`?"),
        (LEAST + "[mqtt]\nreciever = []\n", "did you mean `receivers`?"),
        (LEAST + ZONE + DWELL + "planed_s = 3\n", "did you mean `planned_s`?"),
        (LEAST + LINE + "onse = true\n", "did you mean `once`?"),
        (LEAST + "[tracks.reidentify]\nmemory = 3\n", "did you mean `memory_s`?"),
        (LEAST + "[qqqq]\nx = 1\n", "see docs/config.md for every key"),
    ],
)
def test_an_unknown_key_gets_the_nearest_one(tmp_path: Path, text: str, hint: str) -> None:
    assert hint in refusal(tmp_path, text)


@pytest.mark.parametrize("kind", TABLES, ids=lambda kind: kind.__name__)
def test_every_table_refuses_unknown_keys(kind: type[msgspec.Struct]) -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field `no_such_key`"):
        msgspec.convert({"no_such_key": 1, **required(kind)}, kind)


def required(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Return values for the keys that have no default."""
    known: dict[str, Any] = {"name": "a", "camera": "c", "start": (0, 0), "end": (0, 9), "direction": "right"}
    return {
        field.name: known.get(field.name)
        for field in msgspec.structs.fields(kind)
        if field.required and field.name in known
    }


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (HEAD.replace('"bundle"', "3") + CAMERA, "$.bundle"),
        (LEAST + "fps = 'fast'\n", "$.cameras.c.fps"),
        (LEAST + "fps = 0\n", "$.cameras.c.fps"),
        (LEAST + "fps = 1e-320\n", "$.cameras.c.fps"),
        (LEAST + "stall_s = -1\n", "$.cameras.c.stall_s"),
        (LEAST + "stall_s = inf\n", "$.cameras.c.stall_s"),
        (LEAST + "stall_s = nan\n", "$.cameras.c.stall_s"),
        (LEAST + "size = [640]\n", "$.cameras.c.size"),
        (LEAST + "size = [640, 99999]\n", "$.cameras.c.size[1]"),
        (LEAST + "[models]\nprecision = 'int4'\n", "$.models.precision"),
        (LEAST + "[models]\nthreads = 0\n", "$.models.threads"),
        (LEAST + "[models]\nscore = 1.5\n", "$.models.score"),
        (LEAST + "[regions]\nmin_area_px = 0\n", "$.regions.min_area_px"),
        (LEAST + "[regions]\npad_px = 1000000000000000000000\n", "$.regions.pad_px"),
        (LEAST + "[regions]\nclasses = 'person'\n", "$.regions.classes"),
        (LEAST + "[attention]\ncanvases = 65\n", "$.attention.canvases"),
        (LEAST + "[attention]\nretry_frames = 1.5\n", "$.attention.retry_frames"),
        (LEAST + "[tracks]\nmotion = 'fast'\n", "$.tracks.motion"),
        (LEAST + LINE.replace("[5, 9]", "[5]"), "$.lines[0].end"),
        (LEAST + LINE + LINE.replace('"a"', '"b/c"'), "$.lines[1].name"),
        (LEAST + LINE.replace('"a"', '"a\\n"'), "$.lines[0].name"),
        (LEAST + GATE + "fail_safe = 'PASS'\n", "$.gates[0].fail_safe"),
        (LEAST + GATE + "min_looks = 33\n", "$.gates[0].min_looks"),
        (LEAST + GATE + "[gates.defects.x]\nlooks = 2\n", "$.gates[0].defects[...].looks"),
        (LEAST + ZONE.replace(", [9, 9]", ""), "$.zones[0].points"),
        (LEAST + ZONE.replace("[9, 0]", ", ".join(["[9, 0]"] * 63)), "$.zones[0].points"),
        (LEAST + "[cameras.c.measure]\nscale_u = 2\n", "$.cameras.c.measure.scale_u"),
        (LEAST + GATE + "[gates.limits.x]\nwidth_mm = [-1, 2]\n", "$.gates[0].limits[...].width_mm[0]"),
        (LEAST + GROWTH + "window = 7\n", "$.growth[0].window"),
        (LEAST + PRESENCE.replace(", [3, 4]", ""), "$.presence[0].places"),
        (LEAST + PRESENCE.replace("a = [[1, 2], [3, 4]]", ""), "$.presence[0].places"),
        (LEAST + PRESENCE + "least_share = 0\n", "$.presence[0].least_share"),
        (LEAST + PRESENCE + "turn_deg = 90\n", "$.presence[0].turn_deg"),
        (LEAST + GATE + "[gates.contains.x]\ny = [-1, 2]\n", "$.gates[0].contains"),
        (LEAST + '[job_check]\nfolder = "g"\non_failure = "pass"\n', "$.job_check.on_failure"),
        (LEAST + ZONE.replace("only", "none"), "$.zones[0].attention"),
        (LEAST + ZONE + DWELL.replace('"dwell"', '"dwel"'), "$.rules[0].kind"),
        (LEAST + ZONE + DWELL.replace('kind = "dwell"\n', ""), "missing required field `kind`"),
        (LEAST + ZONE + DWELL.replace("= 5", "= 0"), "$.rules[0].seconds"),
        (LEAST + ZONE + DWELL + "radius_px = 5\n", "unknown field `radius_px`"),
        (LEAST + ZONE + STATION.replace("newest = 3", "newest = 1001"), "$.rules[0].newest"),
        (LEAST + "[mqtt]\nport = 70000\n", "$.mqtt.port"),
        (LEAST + "[mqtt]\nkeepalive_s = 70000\n", "$.mqtt.keepalive_s"),
        (LEAST + "[mqtt]\ndrain_s = inf\n", "$.mqtt.drain_s"),
        (LEAST + "[ledger]\nmax_mib = 0\n", "$.ledger.max_mib"),
        (LEAST + "[evidence]\nverdicts = ['REJECT', 'BAD']\n", "$.evidence.verdicts[1]"),
        (LEAST + "[evidence]\nquality = 101\n", "$.evidence.quality"),
        (LEAST + SHIFT.replace("06:00", "6:00"), 'Expected a time of day such as "06:00" - at `$.shifts[0].start`'),
        (LEAST + SHIFT.replace('"06:00"', "06:00:00"), 'write it as a text, such as "06:00"'),
        (LEAST + SHIFT.replace("14:00", "24:00"), "$.shifts[0].end"),
        (LEAST + "[summary]\nevery_s = 0\n", "$.summary.every_s"),
        ('site = "a/b"\n' + LEAST, "$.site"),
        (LEAST.replace("clip.mp4", "a\\u0000b"), "$.cameras.c.source"),
        (LEAST.replace('"state"', '"a\\u0000b"'), "$.state"),
        (LEAST + '[cameras.d]\nsource = "x"\nfps = 0\n', "$.cameras.d.fps"),
        (LEAST + "[cameras.d]\ncommand = ['x', 1]\n", "$.cameras.d.command[1]"),
        (LEAST + "[cameras.d]\nsorce = 'x'\n", "$.cameras.d`; did you mean `source`?"),
        (HEAD, "missing required field `cameras`"),
        (LEAST + '[[lines]]\nname = "a"\n', "missing required field `camera`"),
    ],
)  # fmt: skip
def test_a_wrong_type_or_range_names_its_table_and_key(tmp_path: Path, text: str, where: str) -> None:
    assert where in refusal(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD + "[cameras]\n", "no camera; add a table [cameras.NAME]"),
        (HEAD + "[cameras.c]\n", "cameras.c: needs exactly one of source and command"),
        (LEAST + 'command = ["x"]\nsize = [4, 4]\n', "cameras.c: needs exactly one of source and command"),
        (HEAD + '[cameras.c]\ncommand = ["x"]\n', "cameras.c: command needs size = [width, height]"),
        (LEAST + "demand = true\n", "cameras.c: demand is for a command; leave it out"),
        (LEAST + '[mqtt]\ncert_file = "c"\nkey_file = "k"\n', "mqtt: cert_file and key_file need TLS, which ca_file"),
        (LEAST + LINE + LINE, "line 'a': the name is used twice"),
        (LEAST + LINE + GATE.replace('"g"', '"a"'), "gate 'a': the name is used twice"),
        (LEAST + LINE + ZONE.replace('"z"', '"a"'), "zone 'a': the name is used twice"),
        (LEAST + ZONE + GROWTH, "growth 'z': the name is used twice"),
        (LEAST + GROWTH + PRESENCE.replace('"p"', '"z"'), "presence 'z': the name is used twice"),
        (LEAST + PRESENCE.replace('"c"', '"d"'), "presence 'p': no camera 'd'; there is c"),
        (LEAST + PRESENCE.replace("[3, 4]", "[1, 4]"), "presence 'p': place 'a': its points"),
        (LEAST + PRESENCE + 'empty = ["x"]\nmove_px = 9\n', "class 'x' fills a place and shows it empty"),
        (LEAST + PRESENCE + 'empty = ["y"]\n', "empty is for places that have to be found; set move_px too"),
        (LEAST + PRESENCE + "turn_deg = 9\n", "turn_deg is for places that have to be found; set move_px too"),
        (LEAST + GATE + "[gates.contains.x]\ny = [4, 2]\n", "contains.x.y [4, 2]: no number lies between them"),
        (LEAST + LINE + "measure = true\n", "line 'a': measures, and there is no table [cameras.c.measure]; add it"),
        (LEAST + MEASURE + GATE + "[gates.limits.x]\nwidth_mm = [4, 2]\n", "limits.x.width_mm [4, 2]: nothing lies"),
        (LEAST + ZONE.replace('"c"', '"d"'), "zone 'z': no camera 'd'; there is c"),
        (LEAST + ZONE.replace("[9, 9]", "[18, 0]"), "enclose nothing; give the corners of an area in order"),
        (LEAST + ZONE.replace('attention = "only"\n', ""), "zone 'z': nothing comes of it; set attention, or name it"),
        (LEAST + DWELL, "rule 'd': no zone 'z'; there is none"),
        (LEAST + ZONE + CONVERSION, "rule 'v': no zone 'y'; there is z"),
        (LEAST + ZONE + CONVERSION.replace('"y"', '"z"'), "rule 'v': goes from zone 'z' to itself; name two different"),
        (
            LEAST
            + '[cameras.e]\nsource = "e"\n'
            + ZONE
            + ZONE.replace('"z"', '"y"').replace('"c"', '"e"')
            + CONVERSION,
            "rule 'v': its zones are of c and e; take one camera's",
        ),
        (LEAST + ZONE + DWELL.replace('"d"', '"z"'), "rule 'z': the name is used twice; give each line, gate,"),
        (LEAST + ZONE + DWELL + DWELL, "rule 'd': the name is used twice"),
        (LEAST + ZONE + FLOW, "rule 'f': flow (0.0, 0.0) has no direction; give a vector such as [1, 0]"),
        (LEAST + ZONE + FLOW.replace("[0, 0]", "[1, inf]"), "rule 'f': flow (1.0, inf) has no direction"),
        (LEAST + ZONE + STATION, "rule 's': least 4 of the newest 3 dwell times can never be; set least to 3 or less"),
        (LEAST + "[regions]\nmin_area_mm2 = 4\n", "regions.min_area_mm2 needs cameras.c.mm_per_px"),
        (LEAST + LINE.replace('"c"', '"d"'), "line 'a': no camera 'd'; there is c"),
        (LEAST + GATE.replace('"c"', '"d"'), "gate 'g': no camera 'd'; there is c"),
        (LEAST + LINE.replace("[5, 9]", "[5, 0]"), "line 'a': start and end are the same point (5.0, 0.0)"),
        (LEAST + LINE + 'direction = "up"\n', "direction 'up'; from (5.0, 0.0) to (5.0, 9.0) it can be right or left"),
        (LEAST + GATE.replace("[5, 9]", "[99, 0]"), "gate 'g': nothing crosses it in direction 'right'"),
        (LEAST + SHIFT + NIGHT, "shifts 'early' (06:00 to 14:00) and 'night' (22:00 to 06:01) overlap; let one end"),
        (LEAST + SHIFT + SHIFT, "shift 'early': the name is used twice; give each shift its own"),
        (LEAST + SHIFT.replace("early", "off"), "shift 'off': the name is taken for other summaries; take another"),
        (LEAST + "[summary]\ntimezone = 'Europe'\n", "summary.timezone 'Europe': is not known here; give a name"),
        (LEAST + "[summary]\ntimezone = '../x'\n", "summary.timezone '../x': is not known here"),
        (LEAST + LINE + "[evidence]\nlines = ['b']\n", "evidence.lines: no line 'b'; there is a"),
        (LEAST + "[evidence]\nrules = ['b']\n", "evidence.rules: no rule 'b'; there is none"),
        (LEAST + '[mqtt]\nhost = "broker.example"\n', "mqtt: broker broker.example is not on this machine"),
        (LEAST + '[mqtt]\nhost = "10.0.0.1"\n', "set ca_file for TLS, or plaintext = true"),
        (LEAST + '[mqtt]\nhost = "127.example.com"\n', "is not on this machine"),
        (LEAST + '[mqtt]\nhost = ""\n', "is not on this machine"),
        (LEAST + '[mqtt]\ncert_file = "c"\n', "mqtt: cert_file and key_file belong together"),
        (LEAST + "[[lines]\n", "cannot be understood"),
        ("a = " + "[" * 5000, "cannot be understood"),
        ("a = " + "9" * 5000, "cannot be understood"),
        ("a = 2026-02-30", "cannot be understood"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_with_its_fix(tmp_path: Path, text: str, said: str) -> None:
    assert said in refusal(tmp_path, text)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "::1"])
def test_this_machines_broker_needs_no_tls(tmp_path: Path, host: str) -> None:
    assert load(tmp_path, LEAST + f'[mqtt]\nhost = "{host}"\n').mqtt is not None


@pytest.mark.parametrize("more", ['ca_file = "ca.crt"\n', "plaintext = true\n"])
def test_another_machines_broker_needs_tls_or_a_word(tmp_path: Path, more: str) -> None:
    assert load(tmp_path, LEAST + '[mqtt]\nhost = "broker.example"\n' + more).mqtt is not None


def test_a_missing_file_and_one_that_is_no_text_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: .*; name a TOML file"):
        load_config(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path)
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "x.toml")


def test_unknown_classes_are_refused_with_the_known_ones() -> None:
    assert class_numbers(["b", "a"], ["_", "a", "b"], "tracks.classes") == [2, 1]
    with pytest.raises(ConfigError, match=r"tracks.classes: no class 'dog' in the bundle; it has _, a, b"):
        class_numbers(["a", "dog"], ["_", "a", "b"], "tracks.classes")


@pytest.mark.parametrize("point", [(-1, 0), (0, -0.1), (641, 0), (0, 480.5), (float("nan"), 0), (0, float("inf"))])
def test_points_outside_the_frame_are_refused(point: tuple[float, float]) -> None:
    check_point((640, 480), (640, 480), "line 'a': start")
    with pytest.raises(ConfigError, match=r"line 'a': start: point .* is outside the frame of 640 x 480 pixels"):
        check_point(point, (640, 480), "line 'a': start")


WORDS = sorted({key for table in TABLES for key in table.__struct_fields__} | {"c", "x"})
VALUES = st.one_of(
    st.sampled_from(
        ["true", "inf", "nan", "-1", "0", "1e99", "''", "'c'", "[]", "{}", "[1, 2]", "[[]]", "['a']", "1979-05-27"]
    ),
    st.text(max_size=12),
    st.integers().map(str),
    st.floats().map(str),
)
ROWS = st.one_of(
    st.tuples(st.sampled_from(WORDS), VALUES).map(" = ".join),
    st.sampled_from(
        [
            "[cameras.c]",
            "[mqtt]",
            "[[lines]]",
            "[[gates]]",
            "[regions]",
            "[gates.defects.x]",
            "[models]",
            "[[zones]]",
            "[[rules]]",
            "[[shifts]]",
            "[summary]",
            "[evidence]",
            'kind = "dwell"',
            'kind = "conversion"',
        ]
    ),
    st.sampled_from(LEAST.splitlines()),
    st.text(max_size=20),
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ROWS, max_size=16), st.booleans())
def test_no_text_whatever_raises_anything_but_a_config_error(tmp_path: Path, rows: list[str], head: bool) -> None:
    path = tmp_path / "fuzz.toml"
    path.write_bytes("\n".join([HEAD if head else "", *rows]).encode("utf-8", "surrogatepass"))
    try:
        got = load_config(path)
    except ConfigError as error:
        assert str(path) in str(error)  # noqa: PT017  either is fine, nothing else
    else:
        assert got.cameras


@given(st.lists(st.tuples(st.integers(0, 47), st.integers(0, 47)), min_size=2, max_size=3))
def test_shifts_are_refused_where_they_have_a_minute_in_common(spans: list[tuple[int, int]]) -> None:
    """Against the definition: one by one, the half hours of a day that each of them has."""
    taken = [{(start + i) % 48 for i in range((end - start) % 48 or 48)} for start, end in spans]
    apart = sum(map(len, taken)) == len(set.union(*taken))
    texts = [tuple(f"{half // 2:02d}:{half % 2 * 30:02d}" for half in span) for span in spans]
    shifts = [config.Shift(name=f"s{i}", start=start, end=end) for i, (start, end) in enumerate(texts)]
    with contextlib.nullcontext() if apart else pytest.raises(ConfigError, match="overlap"):
        check_shifts("c", shifts, "UTC")
