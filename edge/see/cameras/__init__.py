"""Sources of frames behind one small protocol: files, folders, devices, streams and programs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Protocol

from edge.config import Camera as CameraConfig
from edge.errors import CameraError
from edge.types import Frame, Gap


class Camera(Protocol):
    """An open source of frames; read and closed by one thread."""

    size: tuple[int, int]  # width, height of every frame, pixels
    fps: float | None  # frames per second, None where nobody knows
    live: bool  # True: frames come whether or not they are taken; False: a recording, which waits

    def read(self, timeout_s: float) -> Frame | Gap | None:
        """Return the next frame of a recording or the newest of a live source, or a gap in what it saw.

        None says that nothing came within `timeout_s`: look at `ended` to see whether anything ever will. Files take
        as long as their decoding. The frame's image is valid until the next call. Raises `CameraError` when there is
        no way on.
        """
        ...

    @property
    def ended(self) -> bool:
        """Whether a recording is over: `read` gives nothing any more. Never true of a live source."""
        ...

    def close(self) -> None:
        """Let go of the device, the stream or the program. May be called twice."""
        ...

    def __enter__(self) -> Camera: ...  # noqa: PYI034  typing has no Self in Python 3.10

    def __exit__(self, *_: object) -> None: ...


def open_camera(name: str, camera: CameraConfig) -> Camera:
    """Return the source that table ``[cameras.NAME]`` describes.

    Its first frame has been seen already, but for a program's, and for that of a live source whose size is configured:
    it may come later.

    Raises `CameraError` where it is missing, is of no known kind, or gives no frame.
    """
    opened = _opened(name, camera)
    if camera.encoder is None or opened.live:  # live ones read their own, in the moment that a frame is there
        return opened
    from edge.see.cameras.encoder import TicksOfFrames, WithTicks  # noqa: PLC0415

    return WithTicks(opened, TicksOfFrames(name, camera.encoder.source))


def _opened(name: str, camera: CameraConfig) -> Camera:
    """Return the source of frames alone."""
    if camera.command:
        from edge.see.cameras.program import LiveProgram, ProgramCamera  # noqa: PLC0415  start-up time: only for programs

        return LiveProgram(name, camera) if camera.live else ProgramCamera(name, camera)
    try:
        camera.source.encode()
    except UnicodeEncodeError as error:  # OpenCV ends the process at such a name
        raise CameraError(f"camera {name}: the name of {camera.source} is not UTF-8; rename it") from error
    if camera.source.lower().startswith("file://"):
        raise CameraError(f"camera {name}: {camera.source} is taken for a stream; write its path, without file://")
    if camera.source.startswith("usb:") or "://" in camera.source:
        from edge.see.cameras.live import LiveCamera  # noqa: PLC0415

        return LiveCamera(name, camera)
    try:
        recording = _recording(name, camera)
    except OSError as error:  # a name that no file can have, a folder that may not be looked into
        raise CameraError(
            f"camera {name}: {camera.source} cannot be opened: {error.strerror}; name what this user may read"
        ) from error
    if recording is not None:
        return recording
    device = re.fullmatch(r"/dev/video([0-9]+)", camera.source)
    if device is not None:
        raise CameraError(f'camera {name}: {camera.source} is a device; write source = "usb:{device[1]}"')
    raise CameraError(
        f"camera {name}: there is no file or folder {camera.source}; "
        "source is a video, a folder of pictures, usb:N or a URL such as rtsp://host/stream"
    )


def _recording(name: str, camera: CameraConfig) -> Camera | None:
    """Return the folder or the video that `source` is the path of, or None where there is neither."""
    path = Path(camera.source)
    if path.is_dir():
        from edge.see.cameras.folder import PictureFolder  # noqa: PLC0415

        return PictureFolder(name, path, camera.fps)
    if path.is_file():
        from edge.see.cameras.video import VideoFile  # noqa: PLC0415

        return VideoFile(name, path, camera.fps)
    return None
