"""What `foveate doctor` tries out of a configuration: the bundle, the cameras, the broker."""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from deploy.checks import FIX, NONE, OK, Finding
from edge.allowances import Size
from edge.bundle import Bundle, Model, Role, open_bundle, read_engine
from edge.config import Config, Mqtt
from edge.daemon import open_models
from edge.engines import choose_engine, models_for, open_engine
from edge.errors import FoveateError
from edge.golden import read_golden
from edge.memory import claim
from edge.see.appearance import appearance_of
from edge.see.cameras import open_camera
from edge.site_checks import check_confidence, check_names, check_places
from edge.tell.connection import BROKEN
from edge.tell.login import read_login
from edge.tell.topics import Topics
from edge.threads import available_cores
from edge.types import Frame

FRAME_S = 10.0  # how long a live camera may take for a frame
ANSWER_S = 5.0  # how long the broker may take for an answer
RETAINED_S = 0.5  # how long retained messages are waited for
TRIED = "reply/doctor"  # below the device's topics: where nobody listens
_DENIED = 128  # reason codes from here on are refusals


def models(config: Config) -> Iterator[Finding]:
    """Open the bundle and run each of its models once."""
    try:
        bundle = open_bundle(config.bundle)
    except FoveateError as error:
        yield _failed(error)
        return
    yield Finding(OK, f"bundle {bundle.manifest.name} {bundle.manifest.version} in {bundle.path}")
    models = models_for(config, bundle)
    roles: tuple[Role, ...] = ("semantic", "coarse", "instance", "appearance")
    for role in roles:
        if role in {"coarse", "appearance"} and role not in models:
            continue
        yield _model(config, bundle, role)
    if "semantic" in models and "instance" in models:
        yield _names(config, models)


def _model(config: Config, bundle: Bundle, role: Role) -> Finding:
    model = bundle.manifest.models.get(role)
    if model is None:
        return Finding(FIX, f"the bundle has no {role} model", "export a bundle with both models")
    try:
        file = choose_engine(model, config.models)
        threads = config.models.threads or available_cores()
        engine = open_engine(read_engine(bundle, file), model, file, threads, dla=config.models.dla)
        with contextlib.closing(engine):
            feeds = {model.input.name: np.zeros(model.input.shape, model.input.dtype)}
            engine.infer(feeds)
            begin = time.perf_counter()
            engine.infer(feeds)
            took_ms = (time.perf_counter() - begin) * 1000
    except FoveateError as error:
        return _failed(error)
    return Finding(OK, f"{role} model: {file.precision} on {file.runtime}, {took_ms:.1f} ms on an empty picture")


def _names(config: Config, models: Mapping[Role, Model]) -> Finding:
    semantic, instance, again = models["semantic"], models["instance"], config.tracks.reidentify
    try:
        if again is not None and again.appearance == "model" and "appearance" not in models:
            appearance_of("model", None)  # raises what the daemon would
        check_names(config, semantic.classes, instance.classes, instance.defects)
        check_confidence(config, semantic.outputs)
    except FoveateError as error:
        return _failed(error)
    return Finding(OK, "every class that the configuration names is in the bundle")


def cameras(config: Config) -> Iterator[Finding]:
    """Try every camera, and where all can be opened, hold what they may come to need against the memory there is."""
    sizes: dict[str, Size] = {}
    for name in config.cameras:
        yield _camera(name, config, sizes)
    if len(sizes) == len(config.cameras):
        yield from _memory(config, sizes)


def _camera(name: str, config: Config, sizes: dict[str, Size]) -> Finding:
    """Open one camera, note its size, hold its lines and gates against that, and wait for a frame."""
    try:
        with open_camera(name, config.cameras[name]) as opened:
            check_places(config, name, opened.size)
            sizes[name] = opened.size
            deadline = time.monotonic() + FRAME_S
            while not isinstance(opened.read(0.5), Frame):
                if opened.ended or time.monotonic() > deadline:
                    return Finding(FIX, f"camera {name} gives no frame", "look at its source")
            rate = f"{opened.fps:g} frames/s" if opened.fps else "no frame rate"
            return Finding(OK, f"camera {name}: {opened.size[0]} x {opened.size[1]}, {rate}")
    except FoveateError as error:
        return _failed(error)


def _memory(config: Config, sizes: dict[str, Size]) -> Iterator[Finding]:
    """Claim the memory that the daemon claims at its start; where no model can be opened, that has been said."""
    with contextlib.ExitStack() as stack:
        try:
            bundle = open_bundle(config.bundle)
            open_models(config, bundle, stack)
        except FoveateError:
            return
        try:
            ceiling = claim(config, models_for(config, bundle), sizes)
        except FoveateError as error:
            yield _failed(error)
            return
    yield Finding(OK, f"memory: at most {ceiling} MiB")


def golden(config: Config) -> Iterator[Finding]:
    """Read what is expected of the reference pictures; `foveate check` judges them."""
    if config.job_check is None:
        return
    try:
        pictures = read_golden(config.job_check.folder, config)
    except FoveateError as error:
        yield _failed(error)
        return
    yield Finding(OK, f"{len(pictures)} reference pictures in {config.job_check.folder}: foveate check judges them")


def broker(config: Config) -> Iterator[Finding]:
    """Connect as the device does (under another client id), and try what it will need to do."""
    if config.mqtt is None:
        yield Finding(NONE, "no broker is configured: events stay in the ledger")
        return
    topics = Topics.of(config)
    try:
        login = read_login(config.mqtt, "", topics.state)
    except FoveateError as error:
        yield _failed(error)
        return
    probe = _Probe(config.mqtt, login.password, login.tls)
    yield from probe.run(f"{topics.root}/{TRIED}", topics.acks)


class _Probe:
    """One connection to the broker, without a will, and the codes it answers with."""

    def __init__(self, settings: Mqtt, password: str | None, tls: ssl.SSLContext | None) -> None:
        self._where = f"broker {settings.host}:{settings.port}"
        self._settings, self._tls = settings, tls
        self._codes: dict[str, Any] = {}
        self._heard: set[str] = set()  # receivers that have acknowledged something, some day
        client = self._client = Client(CallbackAPIVersion.VERSION2, "", protocol=MQTTv5)
        client.connect_timeout = ANSWER_S
        if settings.username is not None:
            client.username_pw_set(settings.username, password)
        if tls is not None:
            client.tls_set_context(tls)
        client.on_connect = lambda *args: self._codes.update(connect=args[3])
        client.on_publish = lambda *args: self._codes.update(publish=args[3])
        client.on_subscribe = lambda *args: self._codes.update(subscribe=args[3][0])
        client.on_message = lambda *args: self._heard.add(args[2].topic.rpartition("/")[2])

    def run(self, topic: str, topic_filter: str) -> Iterator[Finding]:
        """Yield what works and what does not: reach, log in, write, read."""
        try:
            self._client.connect(self._settings.host, self._settings.port, keepalive=10)
        except ssl.SSLError as error:
            yield Finding(FIX, f"{self._where}: TLS fails: {error}", "check ca_file, cert_file and the broker's name")
            return
        except (OSError, UnicodeError) as error:  # UnicodeError: no host can have this name
            yield Finding(FIX, f"{self._where} cannot be reached: {error}", "start it; check host, port and firewall")
            return
        try:
            yield from self._try(topic, topic_filter)
        except BROKEN as error:
            what = f"{self._where} does not speak MQTT 5: {type(error).__name__}: {error}"
            yield Finding(FIX, what, "check host and port, or use another broker")
        finally:
            with contextlib.suppress(*BROKEN):
                self._client.disconnect()
            self._client.on_connect = self._client.on_publish = None
            self._client.on_subscribe = self._client.on_message = None

    def _try(self, topic: str, topic_filter: str) -> Iterator[Finding]:
        kind = "TLS" if self._tls else "no TLS"
        yield self._judged("connect", f"log in ({kind})", "check port, username, password_file, cert_file")
        if self._refused("connect"):
            return
        self._client.publish(topic, b"", qos=1)
        yield self._judged("publish", f"write to {topic}", "let the broker's acl give this device its own topics")
        self._client.subscribe(topic_filter, qos=1)
        yield self._judged("subscribe", f"read {topic_filter}", "let the broker's acl give this device its own topics")
        if not self._refused("subscribe"):
            yield from self._receivers()

    def _receivers(self) -> Iterator[Finding]:
        """Yield the receivers that never acknowledged anything: what they did is retained, so it comes at once."""
        deadline = time.monotonic() + RETAINED_S
        while not self._heard.issuperset(self._settings.receivers) and time.monotonic() < deadline:
            if self._client.loop(0.1) != MQTTErrorCode.MQTT_ERR_SUCCESS:
                break
        for name in self._settings.receivers:
            if name not in self._heard:
                yield Finding(NONE, f"receiver {name} has not acknowledged anything yet: is it running?")

    def _judged(self, step: str, what: str, how: str) -> Finding:
        deadline = time.monotonic() + ANSWER_S
        while step not in self._codes and time.monotonic() < deadline:
            if self._client.loop(0.1) != MQTTErrorCode.MQTT_ERR_SUCCESS:
                break
        if self._refused(step):
            return Finding(FIX, f"{self._where}: cannot {what}: {self._codes.get(step, 'no answer')}", how)
        return Finding(OK, f"{self._where}: can {what}")

    def _refused(self, step: str) -> bool:
        code = self._codes.get(step)
        return code is None or code.value >= _DENIED


def _failed(error: FoveateError) -> Finding:
    """Turn an error, whose text ends with the fix, into a finding."""
    what, _, how = str(error).rpartition("; ")
    return Finding(FIX, what or how, how if what else "")
