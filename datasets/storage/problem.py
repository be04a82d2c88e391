"""A problem in stored data: where it is, which rule it breaks and how to mend it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cog.errors import CogError, sentences

RECOLLECT = "run cog verify --repair on its dataset, or restore it from a copy"


@dataclass(frozen=True)
class Problem:
    """One broken rule; its text is what people see."""

    file: Path
    """File that breaks the rule."""
    field: str
    """Array, attribute or JSON key within the file; empty for the file as a whole."""
    rule: str
    """What should hold and what was found instead."""
    remedy: str = RECOLLECT
    """What the user can do."""
    episode: int | None = None
    """Number of the episode within the file, where one can be named."""

    @property
    def where(self) -> str:
        """File, episode and field."""
        parts = [f"episode {self.episode}"] if self.episode is not None else []
        parts += [f"field '{self.field}'"] if self.field else []
        return f"{self.file}: {', '.join(parts)}" if parts else str(self.file)

    def __str__(self) -> str:
        return sentences(self.rule, self.where, self.remedy)


def mendable(problem: Problem, spec: Mapping[str, Any]) -> Problem:
    """The same with a remedy that serves data of this origin: only what was collected can be repaired."""
    if problem.remedy != RECOLLECT or "kind" not in spec:  # what was collected has no kind
        return problem
    origin = spec.get("origin")
    imported = isinstance(origin, dict) and origin.get("kind") == "import"
    again = "import it again from its source" if imported else "make it again as it was made"
    return replace(problem, remedy=f"restore it from a copy, or {again}; cog why names what it came from")


class DataError(CogError):
    """Stored or offered data break a rule."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.rule, where=problem.where, remedy=problem.remedy)
        self.problem = problem

    def __reduce__(self) -> tuple[type, tuple[Problem]]:
        return type(self), (self.problem,)  # a worker process hands it on by its problem
