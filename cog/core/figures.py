"""Figures: matplotlib, where it is installed, with axes in one style, written atomically as PNG."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

from cog.core.files import write_bytes
from cog.errors import missing_extra

COLOURS = {
    "green": "#0b6e4f",
    "red": "#c8553d",
    "blue": "#3c5a99",
    "violet": "#7a4fa3",
    "ochre": "#b8860b",
    "grey": "#5f5f5f",
    "sky": "#1f6fb2",
}
"""The palette of all pictures, in the order in which unnamed curves take from it."""

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def new_picture(width: float, height: float) -> "Figure":
    """An empty figure of `width` by `height` inches.

    Raises:
        CogError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing_extra("matplotlib", "report") from error
    return Figure(figsize=(width, height), layout="constrained")


def style(axes: "Axes") -> None:
    """Small numbers, and no frame above and to the right."""
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def write_picture(path: Path, figure: "Figure", dpi: int) -> None:
    """Write the figure as PNG, `dpi` pixels per inch.

    Raises:
        OSError: it could not be written.
    """
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=dpi)
    write_bytes(path, data.getvalue())
