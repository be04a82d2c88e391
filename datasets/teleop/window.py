"""A window as screen and keyboard, by tkinter."""

import time
import tkinter
from collections.abc import Sequence, Set
from types import TracebackType
from typing import Any

import cv2
import numpy as np

from cog.datasets.teleop.keyboard import KEYS, QUIT

NAMES = {"Return": "enter", "KP_Enter": "enter", "BackSpace": "backspace"}
WHILE_WAITING = 0.002  # s between two polls of the window's events


class Window:
    """A window with the picture and lines of text; a context manager that closes it."""

    def __init__(self) -> None:
        """Open the window.

        Raises:
            tkinter.TclError: there is no display.
        """
        self.root = tkinter.Tk()
        self.root.title("cog teleop")
        self.image: tkinter.PhotoImage | None = None
        self.picture = tkinter.Label(self.root)
        self.picture.pack(side="left")
        self.text = tkinter.Label(self.root, justify="left", font="TkFixedFont", width=40, anchor="w")
        self.text.pack(side="left", anchor="n")
        self.down: set[str] = set()
        self.pressed: set[str] = set()
        self.closed = False
        self.root.bind("<KeyPress>", self._press)
        self.root.bind("<KeyRelease>", lambda event: self.down.discard(_name(event)))
        self.root.bind("<FocusOut>", lambda _: self.down.clear())
        self.root.protocol("WM_DELETE_WINDOW", self._close)

    def __enter__(self) -> "Window":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.root.destroy()

    def show(self, picture: np.ndarray, text: str, further: Sequence[np.ndarray] = ()) -> None:
        """Show the picture, those of further cameras beside it, and the lines next to them."""
        picture = side_by_side([picture, *further])
        height, width = picture.shape[:2]
        header = f"P6 {width} {height} 255 ".encode()
        # An attribute, since Tk itself keeps no reference to the image.
        self.image = tkinter.PhotoImage(data=header + picture.tobytes(), format="PPM")
        self.picture.configure(image=self.image)
        self.text.configure(text=text)
        self.root.update()

    def keys(self, seconds: float) -> Set[str]:
        """Wait, then return the keys that are down or were pressed since the last call."""
        until = time.monotonic() + seconds
        self.root.update()
        while time.monotonic() < until and not self.closed:
            time.sleep(WHILE_WAITING)
            self.root.update()
        keys = self.down | self.pressed
        self.pressed.clear()
        return {QUIT} if self.closed else frozenset(keys & KEYS)

    def _press(self, event: Any) -> None:
        self.down.add(_name(event))
        self.pressed.add(_name(event))

    def _close(self) -> None:
        self.closed = True


def side_by_side(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures (h, w, 3 or 1) uint8 in a row, each as high as the first, (H, W, 3) uint8."""
    height = len(pictures[0])
    row = []
    for picture in pictures:
        colours = np.repeat(picture, 3 // picture.shape[2], axis=2)
        width = max(1, round(picture.shape[1] * height / len(picture)))
        row.append(cv2.resize(colours, (width, height), interpolation=cv2.INTER_NEAREST))
    return np.concatenate(row, axis=1)


def _name(event: Any) -> str:
    return NAMES.get(event.keysym, event.keysym)
