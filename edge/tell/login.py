"""Credentials and certificates of the broker, read once at the start."""

from __future__ import annotations

import ssl

from edge.config import Mqtt
from edge.errors import ConfigError
from edge.tell.connection import Login


def read_login(settings: Mqtt, client_id: str, will_topic: str) -> Login:
    """Return what connections need; raises `ConfigError` naming the file that cannot be used."""
    return Login(settings, client_id, _password(settings), _tls(settings), will_topic)


def no_passphrase() -> str:
    """Return the empty text, which opens no key: OpenSSL would ask on the terminal, and wait."""
    return ""


def _password(settings: Mqtt) -> str | None:
    path = settings.password_file
    if path is None:
        return None
    if settings.username is None:
        raise ConfigError(f"mqtt.password_file {path}: there is no mqtt.username; set it, or remove password_file")
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"mqtt.password_file {path}: {error}; name a file with the password on one line") from error


def _tls(settings: Mqtt) -> ssl.SSLContext | None:
    if settings.ca_file is None:
        return None
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(f"mqtt.ca_file {settings.ca_file}: {error}; name a PEM file of the broker's CA") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.cert_file is not None:
        try:
            context.load_cert_chain(settings.cert_file, settings.key_file, password=no_passphrase)
        except OSError as error:
            raise ConfigError(
                f"mqtt.cert_file {settings.cert_file} and key_file {settings.key_file}: {error}; "
                "name a PEM certificate and its unencrypted key"
            ) from error
    return context
