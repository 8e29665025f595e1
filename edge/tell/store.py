"""One ledger file opened by one process: the lock, two connections, and transactions that end in `LedgerError`.

Two connections, because the pipeline must never wait for the delivery thread's disk: the pipeline's has
``synchronous=FULL``, its transactions reach the disk before they return. The delivery thread's has ``NORMAL``: an
acknowledgement that a power cut takes back is only sent again. Both are opened before any thread starts, and one lock
in this process lets one write at a time, so SQLite has no reason to say "database is locked".
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from edge.errors import LedgerError
from edge.tell import schema

log = logging.getLogger(__name__)

EVIDENCE = "evidence"  # folder of the pictures, beside the ledger

_LOCK_WAIT_S = 2.0  # a daemon that was just killed may still be on its way out
_NO_FOLDER = {errno.EEXIST, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP}
_NO_RIGHT = ("permission", "readonly", "read-only", "unable to open", "not permitted")
_SPARE_BYTES = 16 << 20  # room beside the file for its write-ahead log
_MOST_CORRUPT = 9
_CHECKPOINT_PAGES = 2000  # of the pipeline's connection; the delivery thread comes first where there is one


class Store:
    """A sound ledger file, locked for this process."""

    def __init__(self, folder: Path, max_mib: int, stream: str | None = None) -> None:
        """Open or create ``ledger.db`` in `folder`, a new one for `stream` if given; raises `LedgerError`."""
        self.path = folder / "ledger.db"
        self._writing = threading.Lock()
        self._broken: sqlite3.Error | None = None
        with disk_errors(self.path), contextlib.ExitStack() as undo:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(folder / "ledger.lock")
            undo.callback(os.close, self._lock)
            if self.path.exists() and not self.path.is_file():  # SQLite waits for a pipe without end
                raise LedgerError(f"ledger {self.path}: is no file; remove it")
            self.pages = _cap(self.path, max_mib)
            self.pipeline = self._open(stream)
            undo.callback(self.pipeline.close)
            self.delivery = schema.connect(self.path, synchronous="NORMAL", autocheckpoint=0)
            undo.callback(self.delivery.close)
            for db in (self.pipeline, self.delivery):
                db.execute(f"PRAGMA max_page_count={self.pages}")
            self._opened = {self.path: self.path.stat(), folder / "ledger.lock": os.fstat(self._lock)}
            self._undo = undo.pop_all()

    def check_there(self) -> None:
        """Raise `LedgerError` where the folder no longer holds the files that are open: they go nowhere, unlocked."""
        for path, opened in self._opened.items():
            try:
                same = os.path.samestat(path.stat(), opened)
            except FileNotFoundError:
                same = False
            if not same:
                raise LedgerError(
                    f"ledger {path}: was removed or replaced while it was in use; leave the state folder alone, and "
                    "start again: what was not delivered is gone with it"
                )

    @contextlib.contextmanager
    def transaction(self, db: sqlite3.Connection) -> Iterator[None]:
        """Run the body in one write transaction of `db`; raises `LedgerError` if it cannot be committed."""
        with self._writing, disk_errors(self.path):
            if self._broken:  # what the disk holds is known again only after a restart
                raise self._broken
            try:
                db.execute("BEGIN IMMEDIATE")
                yield
                db.execute("COMMIT")
            except BaseException as error:
                if isinstance(error, sqlite3.Error):
                    self._broken = error
                with contextlib.suppress(sqlite3.Error):  # SQLite may have rolled back on its own
                    db.execute("ROLLBACK")
                raise

    def used(self, db: sqlite3.Connection) -> int:
        """Return how many pages of the file are in use, as connection `db` sees it."""
        return _number(db, "page_count") - _number(db, "freelist_count")

    def close(self) -> None:
        """Close both connections and release the lock; raises `LedgerError`."""
        with disk_errors(self.path):
            self._undo.close()

    def _open(self, stream: str | None) -> sqlite3.Connection:
        try:
            return _checked(self.path, stream)
        except schema.DAMAGE as error:
            if not _at_fault(self.path, error):
                raise
            aside = _move_aside(self.path)
            log.warning("ledger=damaged path=%s moved_to=%s reason=%s", self.path, aside.name, error)
        return _checked(self.path, stream)

    def follows_damage(self) -> bool:
        """Return whether an earlier ledger of this folder was moved aside."""
        return any(self.path.parent.glob(f"{self.path.name}.corrupt-*"))


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite and the system say about `path` into a `LedgerError` with a fix."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise LedgerError(f"ledger {path}: {error}; {_fix(error)}") from error


def _fix(error: Exception) -> str:
    text = str(error).lower()
    if "full" in text or "no space" in text:
        return "free space on this disk, or lower [ledger] max_mib"
    if "locked" in text:
        return "end the program that has the file open"
    if (isinstance(error, OSError) and error.errno in _NO_FOLDER) or any(word in text for word in _NO_RIGHT):
        return "name a state folder that this user may write (state = … in the configuration), or change its owner"
    return "check the disk and its file system, then start again"


def _lock(path: Path) -> int:
    """Return a descriptor that holds the exclusive lock on `path`; raises `LedgerError`."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    until = time.monotonic() + _LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < until:
                time.sleep(0.02)
                continue
            owner = os.pread(lock, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(lock)
            raise LedgerError(
                f"ledger {path.parent}: is in use by process {owner}; end that one, or give this daemon a state "
                "folder of its own"
            ) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        return lock


def _cap(path: Path, max_mib: int) -> int:
    """Return how many pages the file may have: what was asked for, or less where the disk is smaller.

    On a full disk SQLite cannot even delete, so the cap has to bite first.
    """
    size = path.stat().st_size if path.exists() else 0
    room = size + shutil.disk_usage(path.parent).free - _SPARE_BYTES
    asked = max_mib << 20
    if room < asked:
        log.warning("ledger=capped path=%s asked_mib=%d mib=%d reason=disk", path, max_mib, max(room >> 20, 1))
    return max(min(asked, room), 1 << 20) // schema.PAGE_BYTES


def _checked(path: Path, stream: str | None = None) -> sqlite3.Connection:
    db = schema.connect(path, synchronous="FULL", autocheckpoint=_CHECKPOINT_PAGES)
    try:
        schema.check(db, path, stream)
    except BaseException:
        db.close()
        raise
    return db


def _number(db: sqlite3.Connection, pragma: str) -> int:
    return int(db.execute(f"PRAGMA {pragma}").fetchone()[0])


def _at_fault(path: Path, error: Exception) -> bool:
    """Tell a damaged file from a failing disk: it can be read, and a new ledger beside it can be written."""
    busy = isinstance(error, sqlite3.Error) and any(word in str(error) for word in ("locked", "full"))
    if busy or not os.access(path, os.R_OK | os.W_OK):
        return False
    probe = path.with_name("ledger.probe")
    _delete(probe)
    try:
        with path.open("rb") as file:
            while file.read(1 << 20):
                pass
        _checked(probe).close()
    finally:
        _delete(probe)
    return True


def _move_aside(path: Path) -> Path:
    """Rename the file at `path` and its log to the next free ``.corrupt-<n>``; raises `LedgerError` after the ninth."""
    free = [aside for n in range(1, _MOST_CORRUPT + 1) if not (aside := _beside(path, f".corrupt-{n}")).exists()]
    if not free:
        raise LedgerError(
            f"ledger {path}: is damaged, as {_MOST_CORRUPT} were before it; "
            f"replace the disk, or delete {path.name}.corrupt-* once it is known why"
        )
    aside = free[0]
    path.rename(aside)  # first: the file without its log might pass for an older, sound ledger
    if _beside(path, "-wal").exists():
        _beside(path, "-wal").rename(_beside(aside, "-wal"))
    _beside(path, "-shm").unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return aside


def _delete(path: Path) -> None:
    for name in (path, _beside(path, "-wal"), _beside(path, "-shm")):
        name.unlink(missing_ok=True)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
