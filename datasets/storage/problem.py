"""A problem in stored data: where it is, which rule it breaks and how to mend it."""

from dataclasses import dataclass
from pathlib import Path

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


class DataError(CogError):
    """Stored or offered data break a rule."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.rule, where=problem.where, remedy=problem.remedy)
        self.problem = problem

    def __reduce__(self) -> tuple[type, tuple[Problem]]:
        return type(self), (self.problem,)  # a worker process hands it on by its problem
