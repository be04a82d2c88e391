"""Runs that one table joins: at least one, each of a seed of its own, all of the same settings otherwise."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cog.core.configs import differences
from cog.errors import CogError, UsageError


def by_seed(
    runs: Sequence[Path], configs: Sequence[Mapping[str, Any]], own: Sequence[str] = ()
) -> tuple[dict[int, Path], dict[str, Any]]:
    """The run of each seed, in the order given, and the settings that all of them have.

    Args:
        runs: folders of the runs.
        configs: settings of each as JSON.
        own: settings beside `seed` that may be another in each run, and are left out.

    Raises:
        UsageError: there is no run.
        CogError: two runs have the same seed, or differ in more than that.
    """
    if not runs:
        raise UsageError("runs are empty; name at least one folder")
    found: dict[int, Path] = {}
    settings: list[dict[str, Any]] = []
    for run, config in zip(runs, configs, strict=True):
        seed = config["seed"]
        if seed in found:
            raise CogError(f"{run} has seed {seed}, as {found[seed]} has; name one run of each seed")
        found[seed] = run
        settings.append({name: value for name, value in config.items() if name not in ("seed", *own)})
        if differing := differences(settings[0], settings[-1]):
            raise CogError(f"{run} has other settings than {runs[0]}; differing: {', '.join(differing)}")
    return found, settings[0]
