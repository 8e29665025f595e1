"""Pictures of what was decided: JPEG files within a byte budget, the oldest the first to go.

A picture has a number, which rises with every one, and a name by it. That of number 12345 is
``0000012/0000012345-<camera>-<frame>-<track>.jpg``: names sort by age, whatever the clock says, and a replay gives the
same ones.

It is written beside its place before the event that names it is committed, and takes its place after that: no event
names half a picture, and no picture is there without its event. What a kill leaves between the two, the ledger settles
at the next start. Nothing here waits for the disk (there is no fsync): a power cut may take the pictures of the last
half minute, and then leaves none of them torn for long.

The ledger comes first: where the disk would no longer hold all that it may grow to, pictures go, and are not written.
Whatever is wrong with the folder, nothing is raised: the event goes on without a picture, and the state says why.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from edge import config
from edge.types import Image

GROUP = 1000  # pictures of one folder
MOST_DROPPED = 32  # pictures that make room for one
_SUFFIX, _PART = ".jpg", ".part"
_GROUP_NAME = re.compile("[0-9]{7}")
_END = b"\xff\xd9"  # of every JPEG file
_BLOCK = 4096  # bytes; what a file takes is a multiple
_SPARE = 32 << 20  # bytes of the disk that are left alone, beside the ledger's
log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Group:
    """What one folder of pictures takes."""

    count: int = 0
    bytes: int = 0


class Pictures:
    """The evidence folder of one daemon, or none: then pictures have their names, and go nowhere. For one thread."""

    def __init__(self, folder: Path | None, limits: config.Evidence, ledger_mib: int = 0) -> None:
        """`ledger_mib` is what the ledger beside `folder` may grow to."""
        self.failing = ""  # why the last picture could not be written; empty: it could
        self.written = self.failed = self.left_out = 0
        self._folder = folder
        self._limits = limits
        self._budget = limits.budget_mib << 20
        self._ledger_bytes = ledger_mib << 20
        self._groups: dict[int, _Group] = {}  # oldest first
        self._all = _Group()
        self._oldest: deque[str] = deque()  # names in the first of them, oldest first; read when it is needed
        self._waiting: list[Path] = []  # written, and not yet in their places
        self._next = 1

    def open(self, newest: Callable[[], Iterable[bytes]]) -> None:
        """Take over what is in the folder, and settle what a kill left; `newest` gives the last events' payloads."""
        if self._folder is None:
            return
        try:
            self._read(self._folder)
            for number in list(self._groups)[-1:]:  # first of all: whatever else fails, no name is given twice
                self._next = 1 + _last(self._folder / f"{number:07d}", number)
            self._settle_left(self._folder, newest)
            self._drop_torn(self._folder)
            while self._all.bytes > self._budget and self._drop_oldest(self._folder):
                pass  # it may be less than it was; nobody waits yet
        except OSError as error:
            self._fail(error)

    def write(self, about: str, picture: Image) -> str:
        """Write `picture` (h, w, 3), and return the name of its file; empty where that cannot be.

        `about` is the rest of the name. The file is in its place after the next `settle`.
        """
        number, self._next = self._next, self._next + 1
        name = f"{number // GROUP:07d}/{number:010d}-{about}{_SUFFIX}"
        if self._folder is None:
            return name
        done, jpeg = cv2.imencode(_SUFFIX, picture, [cv2.IMWRITE_JPEG_QUALITY, self._limits.quality])
        if not done:
            return ""
        try:
            self._make_room(self._folder, len(jpeg))
            path = _written(self._folder / (name + _PART), jpeg.tobytes())
        except OSError as error:
            self._fail(error)
            return ""
        self._waiting.append(path)
        self._count(number // GROUP, 1, len(jpeg))
        self._well()
        return name

    def settle(self) -> None:
        """Bring what was written to its place: the events that name it are committed."""
        waiting, self._waiting = self._waiting, []
        for path in waiting:
            self._place(path)

    def report(self) -> dict[str, Any]:
        """Return what the state message says of the pictures."""
        return {
            "pictures": self._all.count,
            "mib": round(self._all.bytes / (1 << 20), 1),
            "written": self.written,
            "left_out": self.left_out,
            "failed": self.failed,
            "failing": self.failing,
        }

    def _place(self, path: Path) -> None:
        try:
            path.rename(path.with_suffix(""))
            self.written += 1
        except OSError as error:  # somebody has removed it
            self._fail(error)

    def _read(self, folder: Path) -> None:
        """Learn what is there: one look at each file."""
        if not folder.exists():
            return
        for number in sorted(int(entry.name) for entry in os.scandir(folder) if _is_group(entry)):
            self._groups[number] = _Group()
            for file in _files_in(folder / f"{number:07d}"):
                with contextlib.suppress(FileNotFoundError):  # somebody has removed it meanwhile
                    self._count(number, 1, file.stat(follow_symlinks=False).st_size)

    def _settle_left(self, folder: Path, newest: Callable[[], Iterable[bytes]]) -> None:
        """Keep what is named by one of the newest events, which were committed with the last pictures; drop the rest.

        A kill leaves at most what one round has written, so it is looked for in the newest two folders alone.
        """
        newest_two = [folder / f"{number:07d}" for number in list(self._groups)[-2:]]
        left = [Path(file) for group in newest_two for file in _files_in(group, _PART)]
        payloads = list(newest()) if left else []
        for path in left:
            name = f"{path.parent.name}/{path.stem}".encode()
            if any(name in payload for payload in payloads):
                path.rename(path.with_suffix(""))
            else:
                self._remove(path)

    def _drop_torn(self, folder: Path) -> None:
        """Drop pictures of the newest folder that have no end: a power cut came before they were on the disk."""
        for number in list(self._groups)[-1:]:
            for path in map(Path, _files_in(folder / f"{number:07d}", _SUFFIX)):
                with path.open("rb") as file:
                    file.seek(max(0, path.stat().st_size - len(_END)))
                    whole = file.read() == _END
                if not whole:
                    log.warning("evidence=torn picture=%s fix=none, it is removed", path)
                    self._remove(path)

    def _make_room(self, folder: Path, size: int) -> None:
        """Drop the oldest pictures until one of `size` bytes fits; raises `OSError` where it does not."""
        folder.mkdir(exist_ok=True)
        for _ in range(MOST_DROPPED):
            if self._fits(folder, size):
                return
            if not self._drop_oldest(folder):
                break
        if not self._fits(folder, size):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _fits(self, folder: Path, size: int) -> bool:
        """Tell whether the budget and the disk have room for so many bytes, all that the ledger may need left alone."""
        if self._all.bytes + _blocks(size) > self._budget:
            return False
        try:
            ledger = (folder.parent / "ledger.db").stat().st_size
        except OSError:
            ledger = 0
        disk = os.statvfs(folder)
        return disk.f_bavail * disk.f_frsize - _blocks(size) >= max(0, self._ledger_bytes - ledger) + _SPARE

    def _drop_oldest(self, folder: Path) -> bool:
        """Remove the oldest picture; return whether there was one."""
        while self._groups:
            number = next(iter(self._groups))
            group = folder / f"{number:07d}"
            if not self._oldest:
                self._oldest.extend(_pictures_in(group))
            if self._oldest:
                self._remove(group / self._oldest.popleft())
                return True
            if any(path.parent == group for path in self._waiting):  # all that is left is being written
                return False
            gone = self._groups.pop(number)  # it is empty, or somebody else has emptied it
            self._all.count -= gone.count
            self._all.bytes -= gone.bytes
            _remove_folder(group)
        return False

    def _remove(self, path: Path) -> None:
        try:
            size = path.stat().st_size
            path.unlink()
        except FileNotFoundError:  # somebody has removed it: its folder is counted until nothing is left in it
            return
        self._count(int(path.parent.name), -1, size)

    def _count(self, number: int, count: int, size: int) -> None:
        for group in (self._groups.setdefault(number, _Group()), self._all):
            group.count += count
            group.bytes += count * _blocks(size)

    def _fail(self, error: OSError) -> None:
        self.failed += 1
        text = f"{self._folder}: {error.strerror}: {_fix(error)}; events go on without pictures"
        if not self.failing:
            log.warning("evidence=failing text=%s", text)
        self.failing = text

    def _well(self) -> None:
        if self.failing:
            log.info("evidence=well failed=%d", self.failed)
        self.failing = ""


def _written(path: Path, data: bytes) -> Path:
    """Write a new file, and return its path; raises `OSError`, and then leaves nothing behind."""
    path.parent.mkdir(exist_ok=True)  # the first of its folder
    try:
        with path.open("xb") as file:
            file.write(data)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return path


def _last(group: Path, number: int) -> int:
    """Return the highest number of a picture in one folder, that of its first where there is none."""
    names = (file.name[:10] for file in _files_in(group))
    numbers = [int(name) for name in names if name.isdecimal()]
    return max([number * GROUP, *(found for found in numbers if found // GROUP == number)])


def _pictures_in(group: Path) -> list[str]:
    """Return the names of the pictures in one folder, the oldest first; none where it is gone."""
    return sorted(file.name for file in _files_in(group, _SUFFIX))


def _files_in(group: Path, suffix: str = "") -> list[os.DirEntry[str]]:
    """Return the files of one folder, none where it is gone; links, pipes and folders in it are not ours."""
    try:
        with os.scandir(group) as entries:
            return [file for file in entries if file.name.endswith(suffix) and file.is_file(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def _remove_folder(group: Path) -> None:
    try:
        group.rmdir()
    except OSError as error:
        if error.errno not in {errno.ENOENT, errno.ENOTEMPTY}:  # others may have put something there
            raise


def _is_group(entry: os.DirEntry[str]) -> bool:
    return bool(_GROUP_NAME.fullmatch(entry.name)) and entry.is_dir(follow_symlinks=False)


def _blocks(size: int) -> int:
    """Return what a file of so many bytes takes on the disk."""
    return -(-size // _BLOCK) * _BLOCK


def _fix(error: OSError) -> str:
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return "free space on this disk, or lower [ledger] max_mib"
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return "let this user write there"
    return "look after that folder and its disk"
