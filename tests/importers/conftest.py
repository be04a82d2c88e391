"""Run an import as a user does, and read what came of it."""

import contextlib
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from cog import cli
from cog.datasets.episode import Episode
from cog.datasets.importers.source import ImportOptions, Recording
from cog.datasets.storage.dataset import Dataset, open_dataset
from cog.datasets.storage.verify import verify


@dataclass(frozen=True)
class Result:
    """How one `cog import` ended."""

    code: int
    said: str
    """Everything it printed, in one line."""
    out: Path

    @property
    def dataset(self) -> Dataset:
        """The dataset, which must be sound."""
        assert self.code == 0, self.said
        assert verify(self.out) == []
        return open_dataset(self.out)

    @property
    def episodes(self) -> list[Episode]:
        return list(self.dataset.episodes())


def read_all(options: ImportOptions, path: Path) -> tuple[list[Recording], str]:
    """Every episode of a source, its pictures in one array, and the notes, in one line."""
    with contextlib.closing(options.open(path)) as source:
        found = [source.read(episode) for episode in range(len(source))]
        seen = [one.images if one.images is None else _stacked(one.images) for one in found]
        whole = [replace(one, images=images) for one, images in zip(found, seen, strict=True)]
        return whole, " ".join(source.notes)


def _stacked(images: Iterable[np.ndarray]) -> np.ndarray:
    return images if isinstance(images, np.ndarray) else np.stack(list(images))


Import = Callable[..., Result]


@pytest.fixture
def bring(capsys: pytest.CaptureFixture[str]) -> Iterator[Import]:
    """`bring(format, path, *options)` imports into a new folder."""
    with tempfile.TemporaryDirectory() as folder:
        count = 0

        def run(*arguments: object) -> Result:
            nonlocal count
            count += 1
            out = Path(folder) / f"{count}"
            capsys.readouterr()
            code = cli.run(["import", *map(str, arguments), "--out", str(out)])
            seen = capsys.readouterr()
            return Result(code, " ".join((seen.out + seen.err).split()), out)

        yield run
