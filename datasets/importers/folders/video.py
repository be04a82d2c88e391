"""Pictures from video files by their times, decoded forwards, one at a time."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cog.core.files import read_remedy
from cog.datasets.storage.problem import DataError, Problem

ANOTHER = "check that the file is complete, or restore it from a copy"


class VideoReader:
    """A reader that keeps its position, so that successive episodes in a file are decoded once."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._container: Any = None
        self._frames: Iterator[Any] = iter(())
        self._current: Any = None  # the picture decoded last; None at the end of the file

    def frames(self, path: Path, times: np.ndarray, tolerance: float) -> Iterator[np.ndarray]:
        """The pictures at increasing times (T,) in seconds: RGB (H, W, 3), with transparency (H, W, 4), or
        grey (H, W); uint8, and of 16 bits where a grey picture has more than 8.

        Raises:
            DataError: the file cannot be decoded, or has no picture within `tolerance` of a time.
        """
        for number, time in enumerate(times.tolist()):
            self._move(path, time - tolerance, time + tolerance)
            if self._current is None or self._current.time > time + tolerance:
                rule = f"has no picture at {time:.3f} s, frame {number} of the episode"
                raise DataError(Problem(path, "video", rule, ANOTHER))
            yield self._current.to_ndarray(format=_layout(self._current))

    @property
    def codec(self) -> str:
        """Name of the coding of the file that is open."""
        return "" if self._container is None else str(self._container.streams.video[0].codec_context.name)

    def close(self) -> None:
        """Let go of the file that was read last."""
        if self._container is not None:
            self._container.close()
            self._container = self._current = None

    def _move(self, path: Path, begin: float, end: float) -> None:
        """Go to the first picture at or after `begin`; reopen the file if it has already passed."""
        import av

        try:
            if path != self._path or self._current is None or self._current.time > end:
                self._open(path)
            while self._current is not None and self._current.time < begin:
                self._current = next(self._frames, None)
        except (av.FFmpegError, OSError, IndexError) as error:
            raise DataError(
                Problem(path, "video", f"cannot be decoded ({error})", read_remedy(error, ANOTHER))
            ) from error

    def _open(self, path: Path) -> None:
        """Decode the first picture of a file."""
        import av

        if self._container is not None:
            self._container.close()
        # With the format given, a playlist named like a video is not followed to other files.
        self._container = av.open(str(path), format="mp4")
        self._path, self._frames = path, self._container.decode(video=0)
        self._current = next(self._frames, None)


def _layout(frame: Any) -> str:
    """The layout to decode to, which keeps what makes a picture unfit: more bits of grey, transparency."""
    parts = frame.format.components
    if len(parts) == 1 and not frame.format.has_palette:
        return "gray" if parts[0].bits <= 8 else "gray16le"
    return "rgba" if any(part.is_alpha for part in parts) else "rgb24"
