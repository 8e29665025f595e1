"""The pages say everything that the code has: every key, default, event, topic, state field and exit code."""

from __future__ import annotations

import re
import typing
from collections import deque
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks.common import data_folder
from deploy import probe
from edge import config, errors, events
from edge.health import Health
from edge.tell.ledger import Ledger
from edge.tell.speaker import Speaker
from edge.tell.status import Alarms
from edge.tell.topics import Topics

DOCS = Path(__file__).parents[1] / "docs"
HEADINGS = {
    config.Config: "Top level",
    config.Camera: "`[cameras.NAME]`",
    config.Models: "`[models]`",
    config.RegionRules: "`[regions]`",
    config.Attention: "`[attention]`",
    config.Audit: "`[audit]`",
    config.Governor: "`[governor]`",
    config.TrackRules: "`[tracks]`",
    config.Reidentify: "`[tracks.reidentify]`",
    config.Line: "`[[lines]]`",
    config.Gate: "`[[gates]]`",
    config.DefectLimit: "`[gates.defects.CLASS]`",
    config.Zone: "`[[zones]]`",
    config.Occupancy: '`[[rules]]`, `kind = "occupancy"`',
    config.Dwell: '`[[rules]]`, `kind = "dwell"`',
    config.Loitering: '`[[rules]]`, `kind = "loitering"`',
    config.AgainstFlow: '`[[rules]]`, `kind = "against_flow"`',
    config.Congestion: '`[[rules]]`, `kind = "congestion"`',
    config.SlowStation: '`[[rules]]`, `kind = "slow_station"`',
    config.Unattended: '`[[rules]]`, `kind = "unattended"`',
    config.Interaction: '`[[rules]]`, `kind = "interaction"`',
    config.Conversion: '`[[rules]]`, `kind = "conversion"`',
    config.Trajectory: '`[[rules]]`, `kind = "trajectory"`',
    config.Unique: '`[[rules]]`, `kind = "unique"`',
    config.Measuring: "`[cameras.NAME.measure]`",
    config.Encoder: "`[cameras.NAME.encoder]`",
    config.SizeLimits: "`[gates.limits.CLASS]`",
    config.Growth: "`[[growth]]`",
    config.Presence: "`[[presence]]`",
    config.JobCheck: "`[job_check]`",
    config.Mqtt: "`[mqtt]`",
    config.Ledger: "`[ledger]`",
    config.Evidence: "`[evidence]`",
    config.Summary: "`[summary]`",
    config.Shift: "`[[shifts]]`",
}
KINDS = [
    events.Count,
    events.Contested,
    events.Arrival,
    events.Verdict,
    events.GapEvent,
    events.AuditEvent,
    events.GovernorEvent,
    events.ZoneEvent,
    events.Alert,
    events.ConversionEvent,
    events.TrajectoryEvent,
    events.ReturnEvent,
    events.VisitorEvent,
    events.Measurement,
    events.GrowthEvent,
    events.MeetingEvent,
    events.EncoderEvent,
    events.PresenceEvent,
    events.JobCheckEvent,
    events.SummaryEvent,
]


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    """Return what is below a heading, up to the next one."""
    parts = re.split(r"^(#{1,6} .*)$", text, flags=re.MULTILINE)
    (found,) = [body for title, body in zip(parts[1::2], parts[2::2], strict=True) if title.lstrip("# ") == heading]
    return found


def rows(text: str) -> dict[str, list[str]]:
    """Return the cells of each table row by its first cell, code marks taken off."""
    cells = [[c.strip() for c in line.strip("|").split(" | ")] for line in text.splitlines() if line.startswith("| ")]
    return {row[0].strip("`"): row for row in cells}


def documented_default(field: msgspec.structs.FieldInfo) -> str:
    """Return how the page writes the default of a key."""
    if field.required:
        return "required"
    value: Any = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    if value is None:
        return "-"
    if isinstance(value, msgspec.Struct):
        return "`{}`"
    return f"`{msgspec.json.encode(value).decode()}`"


def test_every_table_of_the_configuration_has_a_section() -> None:
    public = [kind for name, kind in vars(config).items() if not name.startswith("_")]
    assert {kind for kind in public if isinstance(kind, type) and issubclass(kind, msgspec.Struct)} == set(HEADINGS)


@pytest.mark.parametrize("kind", HEADINGS, ids=lambda kind: kind.__name__)
def test_every_key_has_its_default_and_its_meaning_and_no_other_is_there(kind: type[msgspec.Struct]) -> None:
    table = rows(section(page("config.md"), HEADINGS[kind]))
    table.pop("key")
    fields = msgspec.structs.fields(kind)
    assert list(table) == [field.name for field in fields]
    for field in fields:
        _, allowed, default, meaning = table[field.name]
        assert default == documented_default(field), field.name
        assert allowed
        assert len(meaning) > 5


@pytest.mark.parametrize("kind", HEADINGS, ids=lambda kind: kind.__name__)
def test_every_choice_of_a_key_is_named(kind: type[msgspec.Struct]) -> None:
    table = rows(section(page("config.md"), HEADINGS[kind]))
    for field in msgspec.structs.fields(kind):
        described = msgspec.inspect.type_info(field.type)
        if isinstance(described, msgspec.inspect.LiteralType):
            assert table[field.name][1] == ", ".join(f'`"{choice}"`' for choice in typing.get_args(field.type))


def test_every_kind_of_rule_has_the_name_that_its_section_says() -> None:
    kinds = {kind: title for kind, title in HEADINGS.items() if "[[rules]]" in title}
    assert set(kinds) == set(typing.get_args(config.BehaviourRule))
    for kind, title in kinds.items():
        assert f'"{kind.__struct_config__.tag}"' in title
    values = rows(section(page("topics.md"), "`alert`: something is wrong by one of the rules, or no longer is"))[
        "value"
    ]
    silent = {config.Conversion, config.Trajectory, config.Unique}
    assert all(f"`{kind.__struct_config__.tag}`" in values[2] for kind in kinds if kind not in silent)


def test_the_example_on_the_page_can_be_loaded(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", page("config.md"), flags=re.DOTALL)
    (tmp_path / "c.toml").write_text(example)
    assert config.load_config(tmp_path / "c.toml").lines[0].name == "door"


def tree(error: type[errors.FoveateError]) -> list[type[errors.FoveateError]]:
    return [error, *(lower for kind in error.__subclasses__() for lower in tree(kind))]


def test_every_exit_code_is_explained() -> None:
    table = rows(section(page("config.md"), "Exit codes"))
    found = {row[1].strip("`"): int(code) for code, row in table.items() if code.isdigit()}
    known = [kind for kind in tree(errors.FoveateError) if kind.__module__ == "edge.errors"]
    assert {kind.__name__: kind.exit_code for kind in known}.items() <= found.items()
    assert {"0", "2", "130"} <= set(table)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_event_kind_and_field_is_explained(kind: type[msgspec.Struct]) -> None:
    text = page("topics.md")
    common = rows(section(text, "Events"))
    (heading,) = re.findall(rf"^### (`{kind.__struct_config__.tag}`: .*)$", text, flags=re.MULTILINE)
    own = rows(section(text, heading))
    shared = set.intersection(*(set(each.__struct_fields__) for each in KINDS))
    assert shared | {"kind"} == set(common) - {"field"}
    assert set(own) - {"field"} == set(kind.__struct_fields__) - shared


def test_no_event_kind_is_missing() -> None:
    assert set(typing.get_args(events.Event)) == set(KINDS)


def test_the_example_event_is_one() -> None:
    (example,) = re.findall(r"```json\n(.*?)```", page("topics.md"), flags=re.DOTALL)
    event = msgspec.json.decode(example, type=events.Event)
    assert isinstance(event, events.Count)
    assert list(msgspec.json.decode(example)) == list(msgspec.json.decode(msgspec.json.encode(event)))


def test_every_topic_is_listed() -> None:
    topics = Topics("foveate/<site>/<line>/<device>")
    members = {name for name in vars(Topics) if not name.startswith("_")} - {"of", "root", "receiver"}
    written = {
        "state": topics.state,
        "event": topics.event("<kind>"),
        "count": topics.count("<counter>"),
        "summary": topics.summary("<shift>"),
        "acks": topics.acks.replace("+", "<receiver>"),
    }
    assert members == set(written)
    listed = set(rows(section(page("topics.md"), "Topics and messages"))) - {"topic"}
    assert listed == {*written.values(), f"{topics.root}/{probe.TRIED}"}


def test_the_files_that_the_people_need_are_listed_with_their_hashes() -> None:
    text = (DOCS.parent / "examples" / "people" / "README.md").read_text(encoding="utf-8")
    recipes = "".join(path.read_text() for path in (DOCS.parent / "examples" / "people").glob("*.toml"))
    hashes = dict(re.findall(r"^([0-9a-f]{64})  (\S+)$", text, flags=re.MULTILINE))
    listed = set(re.findall(r"^\| `(\S+)` \|", text, flags=re.MULTILINE))
    assert listed == set(hashes.values())
    assert set(re.findall(r'"data/(\S+)"', recipes)) <= listed


def test_where_data_is_missing_the_page_that_lists_it_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FOVEATE_DATA", str(tmp_path))
    with pytest.raises(
        errors.FoveateError, match=r"there is no folder weights .*\(examples/people/README\.md says which"
    ):
        data_folder()


class _Line:
    """A connection that takes everything."""

    def __init__(self) -> None:
        self.room = 16
        self.said: list[tuple[str, bytes]] = []
        self.messages: deque[Any] = deque()
        self.receipts: deque[Any] = deque()

    def publish(self, topic: str, payload: bytes, **_: Any) -> None:
        self.said.append((topic, payload))

    def subscribe(self, topic: str) -> None:
        """Nobody writes here."""


def test_every_field_of_the_state_message_is_explained(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, config.Ledger(max_mib=8), [])
    line: Any = _Line()
    speaker = Speaker(Topics("r"), ledger, Alarms(), Health().state)
    speaker.begin(line, 1)
    speaker.speak(line)
    ledger.close()
    (state,) = [msgspec.json.decode(payload) for topic, payload in line.said if topic == "r/state"]
    assert set(rows(section(page("topics.md"), "The state message"))) - {"field"} == set(state)
