"""Switches in the data: what a policy turns to -1 or 1 must mean these two in the data that it learns from.

A policy takes a switch of the data by its side of zero, so 0 and 1 are one side, and 0 for "stay" is none.
"""

import numpy as np

from cog.errors import UsageError

GAP = 0.05  # two commands are further apart
FEW = 16  # a component with at most so many values was written by name, not measured or disturbed
RARE = 0.02  # share of the steps below which a cluster is the far end of some noise, not a command,
SEVERAL = 3  # as is one of fewer steps
COMMAND = 0.5  # least size of a command: smaller values are another unit, which 1 would exceed many times
BETWEEN = 0.2  # share of the steps nearer to 0 than to -1 and 1 above which a note asks
AGAIN = (
    "map its two values to -1 and 1 (cog import --switches {switches}, or action_scale of DatasetWriter), or "
    "train with fewer switches"
)


def check_switches(actions: np.ndarray, switches: int) -> list[str]:
    """Refuse actions (S, A) whose last `switches` components are not two commands, one below and one above 0.

    Returns notes on switches that are never turned, or often lie between their commands. More switches than
    an action can have are not judged.

    Raises:
        UsageError: naming the component, the values found and the remedy.
    """
    notes: list[str] = []
    first = actions.shape[1] - switches
    if first < 1:
        return notes
    for number in range(first, actions.shape[1]):
        values = np.asarray(actions[:, number], np.float64)
        found = np.unique(values)
        rounded, times = np.unique(np.round(values, 2), return_counts=True)
        few = len(rounded) <= FEW and 4 * len(rounded) <= len(values)
        clusters = np.bincount(np.r_[0, (np.diff(rounded) > GAP).cumsum()], times)
        commands = int((clusters >= max(RARE * len(values), SEVERAL)).sum())
        told = f"{found[0]:.4g} to {found[-1]:.4g}"
        if len(found) <= FEW:
            told = ", ".join(f"{value:.4g}" for value in found)
        if (fault := _fault(values, found, commands if few else None)) is not None:
            raise UsageError(
                f"component {number} of the actions is a switch by network.switches, but {fault}; "
                f"in the data it has {'the values ' if len(found) > 1 else 'the value '}{told}",
                remedy=AGAIN.format(switches=switches),
            )
        between = float((np.abs(values) < COMMAND).mean())
        if between > BETWEEN:
            notes.append(
                f"component {number} of the actions, a switch, lies between its commands, within "
                f"{COMMAND:g} of 0, in {between:.0%} of the steps: is it one?"
            )
        if found[0] > 0 or found[-1] < 0:
            notes.append(
                f"component {number} of the actions, a switch, lies on one side in all data ({told}): "
                f"the policy will always give {1 if found[0] > 0 else -1}"
            )
    return notes


def _fault(values: np.ndarray, found: np.ndarray, commands: int | None) -> str | None:
    """Why these values (S,) are no switch, if they are not.

    `found` are the different ones in order, `commands` the number of their clusters, if they are few.
    """
    size = np.abs(found)
    if (found == 0).any():
        return "0 is neither of its sides -1 and 1"
    if size.max() < COMMAND:
        return f"never as much as {COMMAND:g}, where a policy would give -1 and 1"
    if commands is not None and commands > 2:
        return "a switch has two values"
    if found[0] < 0 < found[-1]:
        return None
    weak, strong = np.quantile(np.abs(values), [0.1, 0.9])  # far apart only if more than noise parts them
    if commands == 2 or 4 * weak < strong:
        return "all its values lie on one side of 0, which counts as one command"
    return None
