"""Merge: task and prior sources, each with its rewards and its share of a batch, in one small file."""

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from cog.core.files import OTHER_NAME, Taken, code_version, hash_json, home, nowhere, since
from cog.core.inputs import Input
from cog.core.lock import reserved
from cog.core.options import usable_path
from cog.core.sealed import SealError, read_sealed, write_sealed
from cog.datasets.action_scale import ActionScale
from cog.datasets.episode import Episode, cameras_of, further
from cog.datasets.relabel.request import STORED
from cog.datasets.relabel.view import View, open_view
from cog.datasets.robot_interface import RobotInterface, disagreements, joined, recorded
from cog.datasets.storage.absent import MERGE
from cog.datasets.storage.cameras import renamed, renaming, unused
from cog.datasets.storage.container import MANIFEST, is_container
from cog.datasets.storage.dataset import Dataset, open_dataset
from cog.datasets.storage.folder import refuse_inside
from cog.datasets.storage.problem import DataError, Problem
from cog.errors import CogError, UsageError

Role = Literal["task", "prior"]
ALONE = "choose one in between, such as 0.9, or leave out --prior to learn from task data alone"
AGAIN = "make the merge again with: cog merge"
SAME = "collect both with the same options, or import both with one image size and the same keys"


@dataclass(frozen=True)
class Source:
    """One dataset under one view."""

    dataset: Dataset
    """The episodes."""
    view: View
    """Their rewards."""
    role: Role
    """`task` data show the task, `prior` data something else."""
    share: float
    """Share of every balanced batch."""
    cameras: Mapping[str, str] = field(default_factory=dict)
    """What some of its cameras are called in the merge (see `cog.datasets.storage.cameras`)."""

    @property
    def name(self) -> str:
        """Name of the dataset's folder, or of its packed file without the suffix."""
        path = self.dataset.path.resolve()
        return path.stem if path.is_file() else path.name

    @property
    def observations(self) -> dict[str, list[int]]:
        """Shape of each observation by its name in the merge."""
        shapes = self.dataset.environment["observations"]
        return renamed(shapes, self.cameras)

    @property
    def camera_names(self) -> list[str]:
        """The names of its cameras in the merge, "image" first."""
        return list(cameras_of(self.observations))

    def as_merged(self, episode: Episode) -> Episode:
        """The episode with its cameras as the merge calls them."""
        if not self.cameras:
            return episode
        seen = self.seen(episode)
        return replace(episode, images=seen.pop("image"), cameras=seen)

    def seen(self, episode: Episode) -> dict[str, np.ndarray]:
        """The images of every camera by its name in the merge."""
        return renamed(episode.pictures(), self.cameras)

    @property
    def episodes(self) -> int:
        """Number of episodes that the view keeps."""
        return self.dataset.episode_count if self.view.episodes is None else self.view.episodes

    @property
    def interface(self) -> RobotInterface:
        """What the dataset records of the robot, its cameras in the order of `camera_names`."""
        known = recorded(self.dataset.environment, self.dataset.spec)
        if not (self.cameras and known.cameras):
            return known
        there = cameras_of(self.dataset.environment["observations"])
        named = renamed(dict(zip(there, known.cameras, strict=True)), self.cameras)
        return replace(known, cameras=tuple(named[name] for name in self.camera_names))

    def as_input(self, folder: Path) -> Input:
        """The view as an input, its path relative to `folder`."""
        dataset = self.dataset.place.resolve()
        return Input.of(
            "view", dataset.with_name(f"{dataset.name}@{self.view.name}"), self.view.hash(), folder
        )


@dataclass(frozen=True)
class Merge:
    """An opened merge."""

    path: Path
    """Merge file, or the path of a single dataset."""
    sources: tuple[Source, ...]
    """Its sources; shares add up to 1."""

    @property
    def hash(self) -> str:
        """Identity of the content: role, share, episodes and rewards of each source, whatever their paths."""
        return hash_json(
            [
                [source.role, source.share, source.dataset.hash, source.view.hash()]
                + ([sorted(source.cameras.items())] if source.cameras else [])
                for source in self.sources
            ]
        )

    @property
    def observations(self) -> dict[str, list[int]]:
        """Shape of each observation, the same in all sources."""
        return self.sources[0].observations

    def as_input(self, folder: Path) -> Input:
        """The merge as something in `folder` names what it was made from; a single dataset by its view."""
        if self.path.is_file() and self.path != self.sources[0].dataset.path:
            return Input.of("merge", self.path, self.hash, folder)
        return self.sources[0].as_input(folder)

    def remarks(self) -> list[str]:
        """Warnings about sources that training can use but the user may not have intended."""
        found = []
        task = [source.view for source in self.sources if source.role == "task"]
        if not any(view.reward_sum or view.rule == STORED for view in task):
            found.append("no task source has a reward, so nothing can be learnt; see cog relabel")
        same: dict[tuple[str, str], list[Source]] = {}
        for source in self.sources:
            same.setdefault((source.dataset.hash, source.view.hash()), []).append(source)
        found += [_same(group) for group in same.values() if len(group) > 1]
        scenes = dict.fromkeys(str(source.dataset.environment.get("id")) for source in self.sources)
        if len(scenes) > 1:
            found.append(
                f"the sources come from different scenes ({', '.join(scenes)}); "
                "policies are evaluated in the first"
            )
        return found + disagreements([(source.name, source.interface) for source in self.sources])

    @property
    def interface(self) -> RobotInterface:
        """What a robot needs to know of a policy that learns from it, by the task's sources.

        Raises:
            CogError: a record of it is malformed.
        """
        return joined([source.interface for source in self.sources if source.role == "task"])


def parse_source(text: str) -> tuple[Path, str | None]:
    """Split `FOLDER@VIEW`; without `@VIEW` it means the only view of the dataset.

    If the whole text is an existing path, the '@' belongs to the name of the folder.
    """
    text = str(usable_path(text)) if text else text
    folder, at, view = text.rpartition("@")
    if not at or "/" in view or Path(text).exists():
        return Path(text), None
    if not folder or not view:
        raise UsageError(f"invalid source {text!r}", remedy="write FOLDER@VIEW")
    return Path(folder), view


def write_merge(
    out: Path | str,
    task: str | Sequence[str],
    prior: str | Sequence[str] = (),
    task_share: float | None = None,
    cameras: Mapping[str, str] | None = None,
) -> Merge:
    """Write a merge of sources given as `FOLDER@VIEW`, one or several of each role.

    Within a role, sources share in proportion to their steps. The task has `task_share` of a batch: by
    default half of it beside prior sources, and all without. `cameras` renames cameras of datasets in the
    merge, as `cog.datasets.storage.cameras` explains.

    Raises:
        UsageError: no task source, a share outside (0, 1), or one without prior sources to share with.
        CogError: a source does not exist or differs in shape from the others, or `out` holds another merge.
    """
    task, prior = ((given,) if isinstance(given, str) else given for given in (task, prior))
    if not task:
        raise UsageError("a merge needs at least one task source")
    if task_share is not None and not prior:
        raise UsageError(
            f"the task's share is {task_share:g}, but there are no prior data to share batches with",
            remedy="name them with --prior, or leave out --task-share",
        )
    share = (0.5 if prior else 1.0) if task_share is None else task_share
    if prior and not 0.0 < share < 1.0:
        raise UsageError(f"the task's share must lie between 0 and 1, got {share:g}", remedy=ALONE)
    sources: list[Source] = []
    roles: list[tuple[Role, Sequence[str], float]] = [("task", task, share), ("prior", prior, 1.0 - share)]
    for role, texts, role_share in roles:
        opened = [_open_source(text) for text in texts]
        total = sum(view.steps for _, view in opened)
        sources += [
            Source(
                dataset, view, role, role_share * view.steps / total, renaming(dataset, dict(cameras or {}))
            )
            for dataset, view in opened
        ]
    unused(cameras or {}, [(source.dataset, source.cameras) for source in sources])
    return publish_merge(usable_path(out), sources)


def publish_merge(out: Path, sources: Sequence[Source]) -> Merge:
    """Write a merge of opened sources and open it.

    Raises:
        UsageError: `out` lies in one of the datasets.
        CogError: the sources differ in shape, or `out` holds something else already.
    """
    _check_alike(sources)
    for source in sources:
        refuse_inside(source.dataset.path, out)
    base = out.resolve().parent
    value = {
        "code_version": code_version(),
        "sources": [
            {
                "path": os.path.relpath(source.dataset.place.resolve(), base),
                "role": source.role,
                "relabel": source.view.name,
                "share": source.share,
                "dataset_hash": source.dataset.hash,
                "relabel_hash": source.view.hash(),
                **({"cameras": dict(source.cameras)} if source.cameras else {}),
            }
            for source in sources
        ],
    }
    if not out.exists():
        with reserved(out), contextlib.suppress(Taken):  # what is there by now is compared
            write_sealed(out, "merge", value, new=True)
    if nowhere(out):
        raise Taken(out)
    existing = {} if out.is_dir() else read_sealed(out, "merge", "a merge", OTHER_NAME)
    if existing | {"code_version": ""} != value | {"code_version": ""}:
        raise CogError(f"{out} exists already with other content{since(out)}", remedy=OTHER_NAME)
    return open_merge(out)


def open_merge(path: Path | str) -> Merge:
    """Open a merge file or a materialised merge; `FOLDER` or `FOLDER@VIEW` is a merge of one task source.

    Raises:
        CogError: something is missing, malformed, or has changed since the merge was made.
    """
    path = usable_path(path)
    if path.is_dir() and (path / MERGE).is_file():
        path = path / MERGE
    if path.is_dir() or is_container(path) or not path.exists():
        if not path.exists() and "@" not in path.name:
            raise CogError(
                f"there is no merge file or dataset here{nowhere(path)}", where=path, remedy="check the path"
            )
        folder, name = (path, None) if path.exists() else parse_source(str(path))
        dataset = open_dataset(folder)
        return Merge(path, (Source(dataset, open_view(dataset, name), "task", 1.0),))
    with path.open("rb") as file:
        if file.read(1) not in (b"{", b""):  # as every merge begins, or one that a full disk emptied
            remedy = "pass a merge or a dataset; data of other packages come in with cog import"
            raise CogError("is neither a merge nor a dataset of cog", where=path, remedy=remedy)
    try:
        value = read_sealed(path, "merge", "a merge", AGAIN)
    except SealError as error:
        if error.field != "kind" or path.name != MANIFEST:
            raise
        remedy = f"pass its folder: {path.parent}"
        raise CogError("is the manifest of a dataset", where=path, remedy=remedy) from error
    entries = value.get("sources")
    if not isinstance(entries, list) or not entries:
        raise DataError(Problem(path, "sources", "must be a list of at least one source", AGAIN))
    sources = tuple(_read_source(path, number, entry) for number, entry in enumerate(entries))
    if abs(sum(source.share for source in sources) - 1.0) > 1e-6:
        raise DataError(Problem(path, "share", "the shares must add up to 1", AGAIN))
    _check_alike(sources)
    return Merge(path, sources)


def _open_source(text: str) -> tuple[Dataset, View]:
    folder, name = parse_source(text)
    if (folder / MERGE).is_file() or (folder.is_file() and not is_container(folder)):
        raise CogError(
            "a merge joins datasets, and this is a merge or another file",
            where=folder,
            remedy="name the datasets in it, as FOLDER@VIEW",
        )
    dataset = open_dataset(folder)
    return dataset, open_view(dataset, name)


def _read_source(path: Path, number: int, entry: Any) -> Source:
    """Open one entry of a merge file and compare it with its hashes."""
    texts = ("path", "role", "relabel", "dataset_hash", "relabel_hash")
    if not isinstance(entry, dict) or not all(isinstance(entry.get(name), str) for name in texts):
        raise DataError(
            Problem(path, f"sources[{number}]", f"must contain the strings {', '.join(texts)}", AGAIN)
        )
    share = entry.get("share")
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0.0 <= share <= 1.0:
        raise DataError(Problem(path, f"sources[{number}].share", "must be a number from 0 to 1", AGAIN))
    if entry["role"] not in get_args(Role):
        raise DataError(Problem(path, f"sources[{number}].role", "must be 'task' or 'prior'", AGAIN))
    place = home(path) / entry["path"]
    if not place.exists():
        rule = f"there is no dataset here: {place}; a merge finds its data by paths from its own folder"
        moved = "move the merge or the data back to where they were, or make the merge again with: cog merge"
        raise DataError(Problem(path, f"sources[{number}].path", rule, moved))
    dataset = open_dataset(place)
    view = open_view(dataset, entry["relabel"])
    for name, found in (("dataset_hash", dataset.hash), ("relabel_hash", view.hash())):
        if entry[name] != found:
            rule = f"{dataset.path} has changed since the merge was made"
            raise DataError(Problem(path, f"sources[{number}].{name}", rule, AGAIN))
    cameras = entry.get("cameras", {})
    if not isinstance(cameras, dict) or not set(cameras) <= set(dataset.environment["observations"]):
        rule = "must map names of the dataset's cameras to their names in the merge"
        raise DataError(Problem(path, f"sources[{number}].cameras", rule, AGAIN))
    return Source(dataset, view, entry["role"], float(share), cameras)


def _check_alike(sources: Sequence[Source]) -> None:
    """Refuse sources whose observations or actions differ in shape."""
    first = sources[0].dataset
    for source in sources[1:]:
        apart = f"{first.path} and {source.dataset.path} cannot be merged"
        here, there = sources[0].camera_names, source.camera_names
        if set(here) != set(there) and here and there:
            raise CogError(
                f"{apart}: their cameras differ; the first has {', '.join(here)}, the second "
                f"{', '.join(there)}",
                remedy="map one name to another with --camera OLD=NEW, or leave out with --camera OLD=none",
            )
        for one, other, what in (
            (sources[0].observations, source.observations, "observations"),
            (first.environment["action"], source.dataset.environment["action"], "action"),
        ):
            if one != other:
                raise CogError(
                    f"{apart}: {what} differ; the first holds {_told(sources[0], what)}, the second "
                    f"{_told(source, what)}",
                    remedy=SAME if what == "observations" else "merge data of one kind of robot",
                )
        if not ActionScale.alike(first.environment, source.dataset.environment):
            raise CogError(
                f"{first.path} and {source.dataset.path} cannot be merged: their actions were scaled from "
                f"different bounds; the first's {_scaled(first)}, the second's {_scaled(source.dataset)}",
                remedy="import or write both with the same bounds, which contain the actions of both",
            )


def _same(sources: Sequence[Source]) -> str:
    """That these sources are one, or copies of one, with the role of each."""
    roles = " and ".join(source.role for source in sources)
    by_place = {source.dataset.place.resolve(): source for source in sources}
    if len(by_place) == 1:
        return f"{sources[0].name}@{sources[0].view.name} is in the merge {len(sources)} times, as {roles}"
    named = [f"{source.dataset.place}@{source.view.name}" for source in by_place.values()]
    return f"{' and '.join(named)} hold the same episodes with the same rewards, as {roles}"


def _told(source: Source, what: str) -> str:
    """The shapes of a source's observations or actions, for people."""
    dataset = source.dataset
    if what == "action":
        return f"actions of {dataset.environment['action'][0]} components"
    shapes = source.observations
    words = {"image": "images of {}", "proprio": "poses of {} numbers", "state": "states of {} numbers"}
    words |= {name: f"images of '{name}' of {{}}" for name in further(shapes)}
    absent = dataset.environment.get("proprio_absent")
    parts = [
        words[name].format("x".join(map(str, shape)))
        for name, shape in shapes.items()
        if name in words and not (name == "proprio" and absent)
    ]
    return " and ".join([*parts, "no pose"] if absent else parts)


def _scaled(dataset: Dataset) -> str:
    """How a dataset's actions were scaled, for people."""
    scale = ActionScale.of(dataset.environment)
    if scale is None:
        return "were taken as they are, in [-1, 1]"
    low, high = (", ".join(f"{value:g}" for value in bounds) for bounds in (scale.low, scale.high))
    return f"from ({low}) to ({high})"
