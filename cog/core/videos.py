"""Videos of episodes, H.264 for browsers, and contact sheets as PNG."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from cog.core.files import OTHER_NAME, nowhere, write_atomically, write_bytes
from cog.errors import CogError, UsageError, missing_extra

FRAMES_PER_SECOND = 12  # half of real time
HOLD = 6  # times the last frame is shown, so that the ending is seen
QUALITY = 26  # x264's constant rate factor, lower is better and larger
SHEET_COLUMNS = 8
SHEET_SIZE = 128  # pixels of a frame in a contact sheet
CAPTION = 18  # pixels above each row of a contact sheet


def can_encode() -> bool:
    """Whether the optional encoder is installed."""
    return importlib.util.find_spec("imageio_ffmpeg") is not None


def side_by_side(cameras: Sequence[np.ndarray]) -> np.ndarray:
    """The pictures (N, H, W, 3 or 1) uint8 of several cameras as one (N, H, W, 3), each as high as the first.

    One camera in colour is returned as it is.
    """
    height = cameras[0].shape[1]
    shown = []
    for pictures in cameras:
        coloured = np.repeat(pictures, 3, 3) if pictures.shape[3] == 1 else pictures
        if coloured.shape[1] != height:
            width = max(1, round(coloured.shape[2] * height / coloured.shape[1]))
            coloured = np.stack(
                [cv2.resize(one, (width, height), interpolation=cv2.INTER_AREA) for one in coloured]
            )
        shown.append(coloured)
    return np.array(shown[0]) if len(shown) == 1 else np.concatenate(shown, 2)


def write_video(path: Path, frames: np.ndarray) -> None:
    """Write frames (T, H, W, 3) uint8, H and W even, as an MP4 file that browsers play.

    Raises:
        CogError: imageio-ffmpeg is not installed, or the file cannot be written.
    """
    if not can_encode():
        raise missing_extra("imageio-ffmpeg", "report")
    import imageio_ffmpeg

    def writer(temporary: Path) -> None:
        height, width = frames.shape[1:3]
        # Browsers need yuv420p and the index at the front (faststart).
        stream = imageio_ffmpeg.write_frames(
            str(temporary),
            (width, height),
            fps=FRAMES_PER_SECOND,
            codec="libx264",
            pix_fmt_out="yuv420p",
            quality=None,
            macro_block_size=2,
            output_params=["-crf", str(QUALITY), "-movflags", "+faststart", "-f", "mp4"],
        )
        stream.send(None)
        try:
            for frame in [*frames, *([frames[-1]] * HOLD)]:
                stream.send(np.ascontiguousarray(frame))
        finally:
            stream.close()

    write_atomically(path, writer)


def check_new_sheet(path: Path) -> None:
    """Refuse, before any work, a path where a contact sheet would not be a new PNG.

    Raises:
        UsageError: the name does not end in .png.
        CogError: the path exists already.
    """
    if path.suffix.lower() != ".png":
        raise UsageError("a film is a PNG image", where=path, remedy="give it a name that ends in .png")
    if path.exists() or path.is_symlink():
        raise CogError(f"exists already{nowhere(path)}; nothing was written", where=path, remedy=OTHER_NAME)


def write_sheet(path: Path, rows: Sequence[tuple[str, np.ndarray]], new: bool = False) -> None:
    """Write a PNG with a caption and evenly spaced frames, first and last included, for each episode.

    `rows` holds captions and frames (T, H, W, 3) uint8.

    Raises:
        Taken: it must be `new`, and something has that name by now.
    """
    picture = np.concatenate([_row(caption, frames) for caption, frames in rows])
    done, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    assert done, "OpenCV encodes PNG wherever it is installed"
    write_bytes(path, data.tobytes(), new)


def _row(caption: str, frames: np.ndarray) -> np.ndarray:
    """A caption above a row of frames, SHEET_SIZE pixels high and wide, or wider for several cameras."""
    chosen = np.linspace(0, len(frames) - 1, SHEET_COLUMNS).round().astype(int)
    width = SHEET_SIZE * max(1, round(frames.shape[2] / frames.shape[1]))
    small = [cv2.resize(frames[i], (width, SHEET_SIZE), interpolation=cv2.INTER_AREA) for i in chosen]
    strip = np.concatenate(small, axis=1)
    band = np.full((CAPTION, strip.shape[1], 3), 255, np.uint8)
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.4
    cv2.putText(band, caption, (4, CAPTION - 5), font, scale, (40, 40, 40), 1, cv2.LINE_AA)
    return np.concatenate([band, strip])
