"""Checkpoints: safetensors and JSON, published by rename, verified by hash when loaded; nothing is pickled.

checkpoints/
  latest.json                 {"folder": "step_0001000"}, written last
  step_0001000/
    model.safetensors         networks: actor, critics, targets, averaged policy
    optimizer.safetensors     Adam's moments, generator state, counters
    state.json                configuration, shapes, data fingerprint, inputs, hashes of the files above
"""

import contextlib
import dataclasses
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialised
from torch import Tensor

from cog.algorithms.shared.base import Algorithm
from cog.core.configs import apart, differences, identity, to_json
from cog.core.files import (
    REMEDIES,
    TEMPORARY_SUFFIX,
    code_version,
    fsync,
    hash_file,
    hash_json,
    is_pointer,
    make_folder,
    nowhere,
    read_remedy,
    sweep,
    write_bytes,
)
from cog.core.inputs import Input, inputs_from_json, inputs_to_json
from cog.core.sealed import read_sealed, write_sealed
from cog.errors import CogError
from cog.networks.encoder import ObservationShape
from cog.training.another import STATE, advised, instead, sound_beside
from cog.training.config import TrainConfig, read_config
from cog.training.tensors import TENSOR_FILES, refuse_unfit, refuse_unusable

KEPT = 2  # the newest, and the previous one in case the newest is damaged
LATEST = "latest.json"
EXPORTS = (".pt2", ".onnx", "policy.json")  # endings and the card of policies without a run
FREE = "Free space, then run the same command again, cog train with --resume."


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint."""

    folder: Path
    config: TrainConfig
    shape: ObservationShape
    action_dimensions: int
    update: int
    fingerprint: str
    metrics_position: int
    hashes: Mapping[str, str]
    code_version: str
    inputs: tuple[Input, ...] = ()
    scene: Mapping[str, Any] = field(default_factory=dict)
    """The environment that the data came from, as far as they record it (see `cog.datasets.environment`)."""
    rewards: Mapping[str, Any] = field(default_factory=dict)
    """`success`: the reward of the step that ends its episode in success, None if the data pay otherwise."""
    written: Mapping[str, Any] = field(default_factory=dict)
    """The settings as this or an earlier version wrote them; the hash is taken over these names."""

    @property
    def hash(self) -> str:
        """Identity of the content: settings, data, update and tensors; it does not depend on paths."""
        return hash_json([_identity(self.written), self.fingerprint, self.update, dict(self.hashes)])

    def tensors(self, name: str, device: str = "cpu") -> dict[str, Tensor]:
        """The tensors of "model" or "optimizer"."""
        path = self.folder / f"{name}.safetensors"
        try:
            return load_file(path, device=device)
        except (OSError, SafetensorError) as error:
            raise CogError(
                f"cannot be read ({error})", where=path, remedy=read_remedy(error, instead(self.folder))
            ) from error


def save(
    root: Path,
    agent: Algorithm[Any],
    drawn: Tensor,
    fingerprint: str,
    metrics_position: int,
    inputs: Sequence[Input] = (),
    scene: Mapping[str, Any] | None = None,
    rewards: Mapping[str, Any] | None = None,
) -> Path:
    """Publish the agent's whole state as the latest checkpoint under `root`; only the newest two are kept.

    A kill at any moment leaves a loadable checkpoint: the new one is written under a temporary name, renamed
    when it is complete, and only then named by latest.json. The paths of `inputs` are relative to the
    checkpoint's own folder, one below `root`; `scene` and `rewards` are those of `Checkpoint`.

    Raises:
        CogError: it could not be written (disk full); the previous one is intact.
    """
    final = root / f"step_{agent.updates_done:07d}"
    staged = root / f".{final.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}"
    try:
        if final.exists() and (root / LATEST).exists() and _latest(root) == final:
            _prune(root, final)  # in case the run was killed between writing latest.json and this
            return final  # the same run at the same update has the same state
        make_folder(root)
        staged.mkdir()
        write_bytes(staged / TENSOR_FILES[0], serialised(_contiguous(agent.state_dict())))
        write_bytes(staged / TENSOR_FILES[1], serialised(_contiguous(_training_state(agent, drawn))))
        state: dict[str, Any] = {
            "code_version": code_version(),
            "torch": torch.__version__,
            "config": to_json(agent.settings),
            **agent.shape.to_json(),
            "action_dimensions": agent.action_dimensions,
            "update": agent.updates_done,
            "fingerprint": fingerprint,
            "metrics_position": metrics_position,
            "inputs": inputs_to_json(inputs),
            "scene": dict(scene or {}),
            "rewards": dict(rewards or {}),
            "hashes": {name: hash_file(staged / name) for name in TENSOR_FILES},
        }
        write_sealed(staged / STATE, "checkpoint", state)
        if final.exists():  # the run was killed between the rename and latest.json
            _discard(final)
        staged.rename(final)
        fsync(root)
        write_sealed(root / LATEST, "latest", {"folder": final.name})
        _prune(root, final)
    except (OSError, SafetensorError) as error:
        raise CogError(
            f"the checkpoint could not be written ({error}); the previous one is intact",
            where=final,
            remedy=REMEDIES.get(getattr(error, "errno", None) or 0, FREE),
        ) from error
    except CogError as error:  # of one of its files: what is true of that is not true of the run
        if not isinstance(error.__cause__, OSError):
            raise
        remedy = REMEDIES.get(error.__cause__.errno or 0, FREE)
        raise CogError(error.what, where=error.where, remedy=remedy) from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return final


def find(path: Path) -> Path:
    """The checkpoint folder that `path` means: a run folder, its checkpoints/ folder or a step folder.

    Raises:
        CogError: there is none.
    """
    for root in (path / "checkpoints", path):
        if (latest := _latest(root)) is not None:
            return latest
    if (path / STATE).exists():
        return path
    if path.suffix in EXPORTS or any((path / name).is_file() for name in EXPORTS):
        what, remedy = "is an exported policy, not a run", "name the run folder that it was exported from"
    else:
        what = f"holds no checkpoint{nowhere(path)}"
        remedy = "name a run folder or one of its checkpoints/step_* folders"
    raise CogError(what, where=path, remedy=remedy)


def resumable(root: Path) -> tuple[Path | None, str]:
    """The checkpoint in `root` to continue from, None if there is none, and a remark if it is not the latest.

    Where the folder that latest.json names is gone, as after a damaged one was deleted, it is the newest
    sound one.

    Raises:
        CogError: the pointer to the latest is damaged.
    """
    latest = _latest(root)
    if latest is None or latest.exists() or (other := sound_beside(latest)) is None:
        return latest, ""
    return other, f"{latest} is missing, though {LATEST} names it; continuing from {other.name}, the newest"


def exists(root: Path) -> bool:
    """Whether a run with its checkpoints in `root` has one to continue from.

    Raises:
        CogError: the pointer to it is damaged.
    """
    return _latest(root) is not None


def reached(root: Path) -> int | None:
    """The update of the latest checkpoint in `root`, None if there is none; its tensors are not read.

    Raises:
        CogError: the pointer to it, or its state, is damaged.
    """
    folder, _ = resumable(root)
    return None if folder is None else int(_state(folder)["update"])


def load(path: Path) -> Checkpoint:
    """Open and verify the checkpoint at `path` (see `find`).

    Raises:
        CogError: naming the file that is missing or damaged, or the tensor that is not finite or of another
            shape.
    """
    folder = find(path)
    state = _state(folder)
    for name, claimed in state["hashes"].items():
        file = folder / name
        if not file.is_file():
            raise CogError("missing", where=file, remedy=instead(folder))
        if hash_file(file) != claimed:
            if is_pointer(file):
                raise CogError("is a pointer of Git LFS", where=file, remedy="fetch it with: git lfs pull")
            raise CogError("content does not match its hash (damaged)", where=file, remedy=instead(folder))
    config = read_config(state["config"], where=str(folder / STATE))
    shape = ObservationShape.from_json(state)
    with advised(folder):
        refuse_unusable(folder, config, shape, state["action_dimensions"], "")
    return Checkpoint(
        folder=folder,
        config=config,
        shape=shape,
        action_dimensions=state["action_dimensions"],
        update=state["update"],
        fingerprint=state["fingerprint"],
        metrics_position=state["metrics_position"],
        hashes=dict(state["hashes"]),
        code_version=state["code_version"],
        inputs=inputs_from_json(state.get("inputs", [])),
        scene=dict(state.get("scene", {})),
        rewards=dict(state.get("rewards", {})),
        written=state["config"],
    )


def restore(checkpoint: Checkpoint, agent: Algorithm[Any], drawn: Tensor, fingerprint: str) -> None:
    """Load a checkpoint's state into a newly built agent, in place.

    Raises:
        CogError: the checkpoint was trained with other settings or other data; the message names them.
    """
    assert isinstance(agent.settings, TrainConfig)
    refuse_other(checkpoint.config, agent.settings, checkpoint.folder, checkpoint.update)
    if checkpoint.fingerprint != fingerprint:
        raise CogError(
            f"trained on other data (fingerprint {checkpoint.fingerprint[:12]}, now {fingerprint[:12]})",
            where=checkpoint.folder,
            remedy="Use the same merge, or another output folder.",
        )
    with advised(checkpoint.folder):
        refuse_unfit(checkpoint.folder, agent, "")
    device = agent.settings.device
    agent.load_state_dict(checkpoint.tensors("model", device))
    training = checkpoint.tensors("optimizer")
    try:
        agent.generator.set_state(training.pop("generator"))
        drawn.copy_(training.pop("drawn"))
    except (RuntimeError, TypeError) as error:
        raise CogError(
            f"its generator or its count of batches is of another kind ({error})",
            where=checkpoint.folder,
            remedy=instead(checkpoint.folder),
        ) from error
    for name, optimizer in agent.optimizers.items():
        moments: dict[int, dict[str, Tensor]] = {}
        for key in [key for key in training if key.startswith(f"{name}.")]:
            _, number, kind = key.split(".")
            moments.setdefault(int(number), {})[kind] = _laid_out(
                training.pop(key), optimizer.param_groups[0]["params"][int(number)]
            )
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": moments, "param_groups": groups})
    agent.updates_done = checkpoint.update


def _identity(written: Mapping[str, Any]) -> dict[str, Any]:
    """The same of settings as a file holds them."""
    return {name: value for name, value in written.items() if name not in apart(TrainConfig)}


def departures(written: TrainConfig, asked: TrainConfig) -> list[str]:
    """Names of the settings that keep a run `asked` for from continuing the one `written` before.

    A larger number of updates does not, unless step sizes depend on it: the longer run begins like the
    shorter one.
    """
    if asked.schedule == "constant" and asked.updates > written.updates:
        written = dataclasses.replace(written, updates=asked.updates)
    found = differences(identity(written), identity(asked))
    own = [name for name in found if name.startswith("algorithm.")]
    others = [name for name in found if name not in own]
    if written.algorithm.name != asked.algorithm.name:
        return ["algorithm", *others]
    # Named as on the command line.
    return [*(f"{asked.algorithm.name}.{name.removeprefix('algorithm.')}" for name in own), *others]


def refuse_other(written: TrainConfig, asked: TrainConfig, where: Path, reached: int | None = None) -> None:
    """Raise CogError, naming the fields, if the run asked for cannot continue the one that was written.

    `reached` is the update of its last checkpoint, if it has one.
    """
    differing = departures(written, asked)
    if differing == ["updates"]:
        found = "no checkpoint yet" if reached is None else f"its last checkpoint at update {reached}"
        fixed = "at least" if asked.schedule == "constant" else f"schedule {asked.schedule}: exactly"
        raise CogError(
            f"is a run of {written.updates} updates, {found}; asked for {asked.updates}",
            where=where,
            remedy=f"Continue it with --updates {written.updates} ({fixed} as many), or use another output "
            "folder.",
        )
    if differing:
        raise CogError(
            f"trained with another configuration; differing: {', '.join(differing)}",
            where=where,
            remedy="Use the same settings, or another output folder.",
        )


def _training_state(agent: Algorithm[Any], drawn: Tensor) -> dict[str, Tensor]:
    """Everything besides the networks that the next update depends on."""
    tensors = {"generator": agent.generator.get_state(), "drawn": drawn}
    for name, optimizer in agent.optimizers.items():
        for number, moments in optimizer.state_dict()["state"].items():
            tensors |= {f"{name}.{number}.{kind}": value for kind, value in moments.items()}
    return tensors


def _laid_out(moment: Tensor, parameter: Tensor) -> Tensor:
    """The moment in the memory order of its parameter.

    A checkpoint stores contiguous tensors, but some weights are channels last, and Adam's fused step goes
    through the memory of weight and moment in parallel: with other strides it would mix up their elements.
    """
    if moment.shape != parameter.shape:
        return moment
    return torch.empty_like(parameter, requires_grad=False).copy_(moment)


def _contiguous(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous copies, which safetensors requires (some weights are channels last)."""
    return {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in tensors.items()
    }


def _state(folder: Path) -> dict[str, Any]:
    """What the checkpoint in a folder says of itself."""
    with advised(folder):
        return read_sealed(folder / STATE, "checkpoint", "a checkpoint's state", "")


def _latest(root: Path) -> Path | None:
    """The folder that latest.json names or, if it is missing, the newest: a folder is published complete."""
    pointer = root / LATEST
    if not pointer.exists():
        return max((folder for folder in root.glob("step_*") if (folder / STATE).exists()), default=None)
    remedy = "delete it to continue from the newest step_* folder, or name one of these folders"
    name = read_sealed(pointer, "latest", "the pointer to the latest checkpoint", remedy).get("folder")
    if not isinstance(name, str) or Path(name).name != name:
        raise CogError("must name a checkpoint next to it", where=f"{pointer}: field 'folder'", remedy=remedy)
    return root / name


def _prune(root: Path, newest: Path) -> None:
    """Remove all but the newest checkpoints, and what killed runs left half-written."""
    sweep(root)
    older = sorted((folder for folder in root.glob("step_*") if folder < newest), reverse=True)
    for folder in older[KEPT - 1 :]:
        with contextlib.suppress(OSError):  # the next save tries again
            _discard(folder)


def _discard(folder: Path) -> None:
    """Remove a checkpoint: rename it first, so that a kill never leaves a part of it under its name."""
    aside = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
    folder.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)
