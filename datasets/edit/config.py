"""Which episodes a filter keeps; only the standard library is imported: the command line starts fast."""

import dataclasses
import shlex
from dataclasses import dataclass
from typing import Any, Literal

from cog.errors import UsageError
from cog.signals.success import SuccessBy


@dataclass(frozen=True)
class FilterConfig:
    """What an episode must satisfy to be kept, all of it; fields left out ask for nothing."""

    ends_in: tuple[str, ...] = ()
    """Rules that all hold at the last frame, such as grasp_success or your own module:function."""
    reaches: tuple[str, ...] = ()
    """Rules that each hold after some step."""
    behaviour: tuple[str, ...] = ()
    """Behaviours, one of which acted."""
    start: tuple[str, ...] = ()
    """Starts, one of which the episode began at."""
    success: Literal["any", "true", "false"] = "any"
    """Whether the episode counts as a success."""
    success_by: SuccessBy | None = None
    """Whether any frame makes it one, or the last does. Default: as cog info says."""
    min_length: int | None = None
    """Fewest steps."""
    max_length: int | None = None
    """Most steps."""

    def __post_init__(self) -> None:
        """Refuse a rule of success where success is not asked for.

        Raises:
            UsageError: naming both.
        """
        if self.success_by is not None and self.success == "any":
            raise UsageError(
                f"success_by is {self.success_by!r}, but success is not asked for",
                remedy="add --success true or --success false",
            )

    def __str__(self) -> str:
        """What it asks for, as options of the command line."""
        words: list[str] = []
        for item in dataclasses.fields(self):
            if (value := getattr(self, item.name)) != item.default:
                several = value if isinstance(value, tuple) else (value,)
                words += [f"--{item.name.replace('_', '-')}", *map(str, several)]
        return shlex.join(words)

    def to_json(self) -> dict[str, Any]:
        """What it asks for, as JSON values."""
        asked = {
            "ends_in": list(self.ends_in),
            "reaches": list(self.reaches),
            "behaviours": list(self.behaviour),
            "starts": list(self.start),
            "success": None if self.success == "any" else self.success == "true",
            "success_by": self.success_by,
            "min_length": self.min_length,
            "max_length": self.max_length,
        }
        return {name: value for name, value in asked.items() if value not in ([], None)}
