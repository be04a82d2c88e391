"""The arms that rows are tried with: each one algorithm, its settings, and a choice of data and labels."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from cog.core.figures import COLOURS
from cog.evaluation.config import Acting
from cog.training.presets import Preset

Choice = Literal["both", "task_only", "oracle"]
Labels = Literal["success", "expert"]


@dataclass(frozen=True)
class Arm:
    """One arm."""

    name: str
    """Name of the arm."""
    title: str
    """What it is, for people."""
    label: str
    """The same in a few words, for pictures."""
    algorithm: str
    """What is learned, a name of `cog.algorithms.ALGORITHMS`."""
    data: Choice
    """Task and prior data, task data alone, or only the episodes of both that were done well."""
    colour: str
    """Colour in pictures."""
    preset: Preset = "cpu"
    """Settings to start from."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Changes of these settings, fields of `TrainConfig`."""
    acting: Acting | None = None
    """How its policy acts in evaluation; none is as the recipe says."""
    labels: Labels = "success"
    """Reward at the step that solves the task, or 1 on every step of task episodes that solve it (RISE)."""


NO_SWITCHES: Mapping[str, Any] = {"network": {"switches": 0}}
"""For algorithms whose policies have no switches: gripper and neutral are components like all others."""


def _on_all(
    name: str,
    algorithm: str,
    what: str,
    colour: str,
    changes: Mapping[str, Any],
    acting: Acting | None = "mode",
    labels: Labels = "success",
) -> Arm:
    """An algorithm on task and prior data, with these changes of the settings."""
    title = f"{what} on task and prior data"
    return Arm(name, title, what, algorithm, "both", COLOURS[colour], "cpu", changes, acting, labels)


TABLE: tuple[Arm, ...] = (
    Arm("cog", "COG: CQL on task and prior data", "COG: task + prior data", "cql", "both", COLOURS["green"]),
    Arm(
        "cql_task_only",
        "CQL on task data only",
        "CQL: task data only",
        "cql",
        "task_only",
        COLOURS["red"],
    ),
    Arm(
        "bc_task_only",
        "behaviour cloning on task data only",
        "BC: task data only",
        "bc",
        "task_only",
        COLOURS["blue"],
    ),
    Arm(
        "bc_all",
        "behaviour cloning on task and prior data",
        "BC: task + prior data",
        "bc",
        "both",
        COLOURS["violet"],
    ),
    Arm(
        "bc_oracle",
        "behaviour cloning on the episodes of both that succeed",
        "BC: successes of both",
        "bc",
        "oracle",
        COLOURS["ochre"],
    ),
    Arm("sac", "SAC on task and prior data", "SAC: task + prior data", "sac", "both", COLOURS["grey"]),
)
"""The arms of the paper's table."""

METHODS: tuple[Arm, ...] = (
    _on_all("ddpg", "ddpg", "DDPG", "grey", NO_SWITCHES),
    _on_all("td3", "td3", "TD3", "grey", NO_SWITCHES),
    _on_all("q_cem", "q_cem", "Q-learning with CEM", "grey", {"algorithm": {"measure_gap": False}}),
    _on_all("bcq", "bcq", "BCQ", "blue", {}),
    _on_all("bear", "bear", "BEAR", "blue", NO_SWITCHES),
    _on_all("brac_v", "brac", "BRAC-v", "blue", {"algorithm": {"penalty": "value"}}),
    _on_all("brac_p", "brac", "BRAC-p", "blue", {"algorithm": {"penalty": "policy"}}),
    _on_all("td3_bc", "td3_bc", "TD3+BC", "blue", NO_SWITCHES),
    _on_all("cql_eq1", "cql", "CQL, equation 1", "red", {"algorithm": {"variant": "eq1"}}, None),
    _on_all("cql_eq2", "cql", "CQL, equation 2", "red", {"algorithm": {"variant": "eq2"}}, None),
    _on_all("cql_rho", "cql", "CQL(rho)", "red", {"algorithm": {"variant": "cql_rho"}}, None),
    _on_all("cql_plain", "cql", "CQL(H) without imitation", "red", {"algorithm": {"bc_weight": 0.0}}, None),
    _on_all("iql", "iql", "IQL", "violet", {}),
    _on_all("idql", "idql", "IDQL", "violet", {}),
    _on_all("fql", "fql", "FQL", "violet", {}, "sample"),
    _on_all("mopo", "mopo", "MOPO", "ochre", {}),
    _on_all("morel", "morel", "MOReL", "ochre", {}),
)
"""Every other algorithm, acting as its paper says, and variants of CQL, acting as COG; all on COG's data."""

SMOOTH: Mapping[str, Any] = {"spectral_weight": 0.1}
WIDE: Mapping[str, Any] = {**SMOOTH, "neighbour_distance": 0.5}

RISE: tuple[Arm, ...] = (
    _on_all("idql_smooth", "idql", "IDQL with RISE's smooth clone", "sky", {"algorithm": SMOOTH}),
    _on_all("idql_wide", "idql", "IDQL with RISE's smooth and wide clone", "sky", {"algorithm": WIDE}),
    _on_all("rise", "idql", "RISE: its clone and its labels", "sky", {"algorithm": WIDE}, labels="expert"),
    _on_all("cog_expert", "cql", "COG with RISE's labels", "green", {}, None, "expert"),
)
"""After RISE, in this toolkit's form: its two changes one after the other, then its labels, also for COG.

`cog.algorithms.idql` says how that form differs from RISE's code.
"""

REFERENCE = Arm(
    "cog_reference",
    "COG with the paper's network and settings, on the same data with the same rewards",
    "COG: the paper's network",
    "cql",
    "both",
    COLOURS["sky"],
    preset="paper",
    acting="mode",
)
"""COG with the paper's own network and settings, which needs a GPU."""

ARMS: Mapping[str, Arm] = {arm.name: arm for arm in (*TABLE, *METHODS, *RISE, REFERENCE)}
"""Every arm by name, in the order of the tables; without `acting`, the row says how each algorithm acts."""
