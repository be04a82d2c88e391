"""Reports as single HTML files: pictures and videos are inside, so that they open offline."""

import base64
from pathlib import Path
from typing import Any

from cog.core.files import write_bytes
from cog.errors import missing_extra
from cog.evaluation.intervals import Rate
from cog.evaluation.result import Evaluation, outcome_text

TEMPLATES = Path(__file__).parent / "templates"
MEDIA = {".gif": "image/gif", ".mp4": "video/mp4", ".png": "image/png"}


def write_page(path: Path, template: str, values: dict[str, Any]) -> None:
    """Fill a template and write it.

    Raises:
        CogError: jinja2 is not installed.
    """
    try:
        import jinja2
    except ImportError as error:
        raise missing_extra("jinja2", "report") from error
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    write_bytes(path, environment.get_template(template).render(**values).encode())


def data_uri(path: Path) -> str:
    """The file's bytes as a URL that needs no other file."""
    return f"data:{MEDIA[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"


def bar(rate: Rate) -> dict[str, Any]:
    """A rate and its interval in percent."""
    return {
        "count": rate.count,
        "value": round(100 * rate.value, 1),
        "low": round(100 * rate.low, 1),
        "high": round(100 * rate.high, 1),
    }


def films(evaluation: Evaluation, start: str) -> list[dict[str, str]]:
    """Videos of a start, or its contact sheet where videos could not be encoded; none of deleted files."""
    named = (Path(file) for file in evaluation.pictures.get(start, ()))
    files = [file for file in named if (evaluation.out / file).is_file()]
    videos = [file for file in files if file.suffix == ".mp4"]
    episodes = {(entry["start"], entry["number"]): entry for entry in evaluation.episodes}
    shown = []
    for file in videos or files:
        caption = f"{start}, contact sheet"
        if videos:
            number = int(file.stem.rsplit("_", 1)[1])
            entry = episodes[start, number]
            caption = f"{start}, episode {number}: {outcome_text(entry)} ({entry['steps']} steps)"
        uri = data_uri(evaluation.out / file)
        shown.append({"kind": file.suffix[1:], "uri": uri, "caption": caption})
    return shown
