"""The report of `cog study stitching`: one HTML file that holds its pictures and opens offline."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cog.core.configs import to_json
from cog.experiments.command_line import changed
from cog.experiments.pages.page import data_uri, write_page
from cog.experiments.studies.config import StitchingConfig

TEMPLATE = "stitching.html.j2"


def write_report(path: Path, result: Mapping[str, Any], sweeps: Path, animation: Path, shares: Path) -> None:
    """Write the page.

    Args:
        path: HTML file to write.
        result: what stitching.json holds.
        sweeps: picture of the values sweep by sweep.
        animation: the same as a GIF.
        shares: picture of the probabilities against the share of the data.

    Raises:
        CogError: jinja2 is not installed, or the file could not be written.
    """
    options = changed(result["config"], to_json(StitchingConfig()), left_out=("quick",))
    values = {
        "result": result,
        "sweeps": data_uri(sweeps),
        "animation": data_uri(animation),
        "shares": data_uri(shares),
        "command": shlex.join(["cog", "study", "stitching", *options]),
    }
    write_page(path, TEMPLATE, values)
