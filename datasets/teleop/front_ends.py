"""Front ends for people: a window where there is a display, else the terminal."""

from contextlib import AbstractContextManager
from typing import Literal

from cog.datasets.teleop.teleop import FrontEnd
from cog.errors import CogError

Choice = Literal["auto", "window", "terminal"]


def open_front_end(choice: Choice = "auto") -> AbstractContextManager[FrontEnd]:
    """Open a screen and a keyboard; "auto" takes the terminal where a window cannot be opened.

    Raises:
        CogError: there is neither a display nor a terminal, or not the one that was chosen.
    """
    if choice != "terminal":
        try:
            import tkinter

            from cog.datasets.teleop.window import Window

            try:
                return Window()
            except tkinter.TclError as error:
                if choice == "window":
                    raise CogError(f"no window can be opened ({error}); use --screen terminal") from error
        except ImportError as error:
            if choice == "window":
                rule = "this Python has no tkinter (often a package of the system, python3-tk)"
                raise CogError(f"{rule}; install it, or use --screen terminal") from error
    from cog.datasets.teleop.terminal import Terminal

    return Terminal()
