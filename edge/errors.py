"""The one error tree. Every text names the thing, the value and the fix.

    FoveateError            exit 1
    ├── ConfigError         exit 78   a setting, a range, a path        (systemd does not restart)
    ├── BundleError         exit 65   a bundle that may not be loaded
    ├── EngineError         exit 70   an inference back end
    ├── CameraError         exit 69   a video, folder, device or stream
    ├── LedgerError         exit 74   the disk under the ledger
    ├── BrokerError         exit 76   a broker that this command cannot do without
    └── CheckError          exit 79   reference pictures that are judged otherwise  (systemd does not restart)

Only entry points turn an error into its exit code.
"""

from __future__ import annotations


class FoveateError(Exception):
    """Anything that ends a command with one line instead of a traceback."""

    exit_code = 1


class ConfigError(FoveateError):
    """A setting is missing, unknown, out of range, or names something that is not there."""

    exit_code = 78


class BundleError(FoveateError):
    """A bundle or one of its files is missing, altered, or of another format."""

    exit_code = 65


class EngineError(FoveateError):
    """An inference back end is missing, or refuses or fails on a model."""

    exit_code = 70


class CameraError(FoveateError):
    """A source of frames cannot be opened or read."""

    exit_code = 69


class LedgerError(FoveateError):
    """The ledger cannot be opened, read or written, or does not add up."""

    exit_code = 74


class BrokerError(FoveateError):
    """A broker is needed and cannot be had."""

    exit_code = 76


class CheckError(FoveateError):
    """Reference pictures are judged otherwise than expected, and the configuration lets no such daemon run."""

    exit_code = 79
