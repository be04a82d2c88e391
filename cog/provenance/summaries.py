"""One-line summaries of things on disk: the settings that a person would ask for first."""

from collections.abc import Mapping, Sequence
from typing import Any

from cog.core.files import read_json
from cog.datasets.merge import Merge
from cog.datasets.relabel.request import STORED
from cog.datasets.relabel.view import View
from cog.datasets.storage.dataset import Dataset
from cog.evaluation.result import Evaluation
from cog.training.checkpoint import Checkpoint

LONGEST = 40  # characters of a value


def dataset(found: Dataset) -> str:
    """Behaviours, starts, size and seed of a collection; otherwise the plain values of its spec."""
    spec, size = found.spec, f"{found.episode_count} episodes, {found.step_count} steps"
    if isinstance(spec.get("behaviours"), list):
        mix = ", ".join(_behaviour(entry) for entry in spec["behaviours"])
        asked = ", ".join(f"{name} {spec[name]}" for name in ("noise", "keep", "seed") if name in spec)
        starts = ", ".join(map(str, spec.get("starts", [])))
        return f"{mix} from {starts}; {size}; {asked}; {found.environment.get('id', spec.get('env', ''))}"
    return "; ".join(filter(None, [_plain(spec), size]))


def view(found: View) -> str:
    """Rule, scale, termination and filter."""
    if found.rule == STORED:
        return "rewards in the shards"
    end = "first reward ends the episode" if found.terminate else "rewards persist"
    only = "" if found.only is None else f", only episodes that end in {found.only}"
    ended = "" if found.ended is None else f", the environment ended {found.ended} episodes"
    return (
        f"rule {found.rule}, scale {found.scale:g}, {end}{only}{ended}; {found.rewarded_steps} rewarded steps"
    )


def merge(found: Merge) -> str:
    """Share of every source."""
    return ", ".join(
        f"{source.role} {source.name}@{source.view.name} {source.share:.3g}" for source in found.sources
    )


def checkpoint(found: Checkpoint) -> str:
    """Algorithm, updates, batch size and seed; for a fine-tuned policy, its online settings."""
    config = found.config
    text = (
        f"{config.algorithm.name}, update {found.update} of {config.updates}, batch size {config.batch_size}"
    )
    text += f", seed {config.seed}"
    record = found.folder.parent.parent / "finetune.json"
    if record.exists():
        asked = read_json(record, "the record of a fine-tuning run")["identity"]["config"]
        text = f"{config.algorithm.name}, update {found.update}, fine-tuned from start {asked['start']}, "
        text += f"{asked['episodes']} episodes, mix {asked['mix']}, seed {asked['seed']}"
    return text


def evaluation(config: Mapping[str, Any], found: Evaluation) -> str:
    """Starts, episodes, seed, and results by the headline."""
    rates = ", ".join(f"{entry.start} {entry.last.count}" for entry in found.results)
    return (
        f"starts {', '.join(config['starts'])}; {config['episodes']} episodes each, seed {config['seed']}, "
        f"acting {config.get('acting', 'mode')}; success {rates} ({found.measure})"
    )


def summary(record: Mapping[str, Any]) -> str:
    """The settings of a demo, or the command of a reproduction."""
    return (
        str(record["command"]) if "command" in record else _plain(record["config"], leave=("out", "workers"))
    )


def _behaviour(entry: Mapping[str, Any]) -> str:
    options = ", ".join(f"{name} {value}" for name, value in entry.get("options", {}).items())
    weight = f" {entry['weight']:g}" if entry.get("weight", 1.0) != 1.0 else ""
    return f"{entry['name']}{weight}" + (f" ({options})" if options else "")


def _plain(values: Mapping[str, Any], leave: Sequence[str] = ()) -> str:
    """The values that are strings, numbers or booleans, in order."""
    shown = {
        name: str(value)
        for name, value in values.items()
        if name not in leave and isinstance(value, str | int | float)
    }
    return ", ".join(
        f"{name.replace('_', ' ')} {text if len(text) <= LONGEST else text[:12] + '…'}"
        for name, text in shown.items()
    )
