"""The terminal as screen and keyboard: pictures in half-block characters, single key presses."""

import os
import re
import select
import sys
import termios
import time
import tty
from collections.abc import Sequence, Set
from functools import cache
from itertools import groupby
from types import TracebackType

import cv2
import numpy as np
from rich.live import Live
from rich.segment import Segment, Segments
from rich.style import Style
from rich.table import Table
from rich.text import Text

from cog.core.console import messages
from cog.datasets.teleop.keyboard import KEYS, QUIT
from cog.errors import CogError

LARGEST = 96  # pixels
TEXT_WIDTH = 33  # characters
COARSENESS = 8  # step between shades of 256; fewer colours need fewer bytes, which matters over a network
NAMES = {" ": "space", "\r": "enter", "\n": "enter", "\x7f": "backspace", "\b": "backspace"}
SEQUENCE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]?|O.?)?")  # sent by arrow and function keys


class Terminal:
    """A terminal that delivers keys at once and without echo; a context manager that restores it.

    A key counts as pressed while it repeats: terminals do not report releases.
    """

    def __init__(self) -> None:
        """Use standard input and standard error.

        Raises:
            CogError: one of them is not a terminal, or it cannot move its cursor.
        """
        self.console = messages()
        if not (sys.stdin.isatty() and self.console.is_terminal):
            raise CogError(
                "teleoperation needs a display, or a terminal on standard input and standard error; "
                "there is neither",
                remedy="Run it in a terminal (ssh -t), without pipes or redirections.",
            )
        if self.console.is_dumb_terminal:
            raise CogError(
                f"TERM={os.environ.get('TERM')} says that this terminal cannot move its cursor, so it cannot "
                "show the scene",
                remedy="run it in another terminal, or set TERM to what this one is, such as xterm-256color",
            )
        self.descriptor = sys.stdin.fileno()
        self.live = Live(console=self.console, screen=True, auto_refresh=False)

    def __enter__(self) -> "Terminal":
        self.before = termios.tcgetattr(self.descriptor)
        tty.setcbreak(self.descriptor)
        self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.live.stop()
        termios.tcsetattr(self.descriptor, termios.TCSADRAIN, self.before)

    def show(self, picture: np.ndarray, text: str, further: Sequence[np.ndarray] = ()) -> None:
        """Draw the picture as large as the terminal allows, and the lines next to it, but nothing further."""
        size = min(2 * self.console.height, self.console.width - TEXT_WIDTH, LARGEST)
        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=max(size, 1))
        grid.add_column(width=TEXT_WIDTH - 1)
        grid.add_row(half_blocks(picture, size) if size > 1 else "", Text(text))
        self.live.update(grid, refresh=True)

    def keys(self, seconds: float) -> Set[str]:
        """Wait, then return the keys that were pressed since the last call."""
        until = time.monotonic() + seconds
        typed = b""
        while True:
            left = max(0.0, until - time.monotonic())
            ready, _, _ = select.select([self.descriptor], [], [], left)
            if not ready:
                return decode(typed)
            try:
                data = os.read(self.descriptor, 1024)
            except OSError:
                data = b""
            if not data:  # the terminal is gone
                return {QUIT}
            typed += data


def decode(typed: bytes) -> Set[str]:
    """The keys in the bytes from a terminal; keys without a meaning are left out."""
    text = SEQUENCE.sub("", typed.decode("utf-8", "replace"))
    return frozenset(NAMES.get(character, character) for character in text) & KEYS


def half_blocks(picture: np.ndarray, size: int) -> Segments:
    """A picture (H, W, 3) uint8 of at most `size` by `size` pixels, two pixels to a character."""
    scale = size / max(picture.shape[:2])
    height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
    height += height % 2
    small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA) // COARSENESS * COARSENESS
    segments = []
    for upper, lower in zip(small[::2].tolist(), small[1::2].tolist(), strict=True):
        for (above, below), run in groupby(zip(upper, lower, strict=True)):
            segments.append(Segment("▀" * len(list(run)), _style(*above, *below)))
        segments.append(Segment.line())
    return Segments(segments)


@cache
def _style(red: int, green: int, blue: int, red_below: int, green_below: int, blue_below: int) -> Style:
    return Style.parse(f"rgb({red},{green},{blue}) on rgb({red_below},{green_below},{blue_below})")
