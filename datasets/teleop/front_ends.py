"""Front ends for people: a window if there is a display, otherwise the terminal."""

from contextlib import AbstractContextManager
from typing import Literal

from cog.datasets.teleop.teleop import FrontEnd
from cog.errors import CogError

Choice = Literal["auto", "window", "terminal"]


def open_front_end(choice: Choice = "auto") -> AbstractContextManager[FrontEnd]:
    """Open a screen and a keyboard; "auto" uses the terminal if no window can be opened.

    Raises:
        CogError: there is neither a display nor a terminal, or not the chosen one.
    """
    if choice != "terminal":
        try:
            import tkinter

            from cog.datasets.teleop.window import Window

            try:
                return Window()
            except tkinter.TclError as error:
                if choice == "window":
                    raise CogError(
                        f"no window can be opened ({error})", remedy="use --screen terminal"
                    ) from error
        except ImportError as error:
            if choice == "window":
                rule = "this Python has no tkinter (often the system package python3-tk)"
                raise CogError(rule, remedy="install it, or use --screen terminal") from error
    from cog.datasets.teleop.terminal import Terminal

    return Terminal()
