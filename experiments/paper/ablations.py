"""Ablations: variants of a row that differ in one thing, such as its prior data or its cameras."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cog.core.figures import new_picture, style, write_picture
from cog.datasets.collection.spec import BehaviourChoice, CollectionSpec
from cog.experiments.paper.arms import ARMS
from cog.experiments.paper.config import Ablation
from cog.experiments.paper.recipes.changes import holding, with_wrist
from cog.experiments.paper.recipes.recipe import Recipe

FACTORS = (0.1, 0.3)
SHARES = (0.1, 0.25, 0.75, 0.9)
CLUMSY = (0.5, 0.0)
FRAMES = (2, 4)

Vary = Callable[[Recipe], list[Recipe]]


def variants(kind: Ablation, recipe: Recipe) -> list[Recipe]:
    """The row itself and what the ablation makes of it; each is named `<row>: <what differs>`."""
    made = [recipe_named(recipe, "as it is"), *VARY[kind](recipe)]
    return list({variant.name: variant for variant in made}.values())


def recipe_named(recipe: Recipe, label: str, **changes: Any) -> Recipe:
    """The row with changes, tried on the paper's starts alone."""
    cells = tuple(cell for cell in recipe.cells if not cell.extra)
    return dataclasses.replace(recipe, name=f"{recipe.name}: {label}", cells=cells, **changes)


def amounts(recipe: Recipe) -> list[Recipe]:
    """Less task data with all prior data, and less prior data with all task data."""
    return [
        *(
            recipe_named(recipe, f"{factor:g} of the task data", task=sized(recipe.task, factor))
            for factor in FACTORS
        ),
        *(
            recipe_named(
                recipe,
                f"{factor:g} of the prior data",
                priors=tuple(sized(spec, factor) for spec in recipe.priors),
            )
            for factor in FACTORS
        ),
    ]


def prior_shares(recipe: Recipe) -> list[Recipe]:
    """Other shares of prior data in each batch."""
    return [
        recipe_named(recipe, f"{share:g} of a batch prior", prior_share=share)
        for share in SHARES
        if share != recipe.prior_share
    ]


def prior_successes(recipe: Recipe) -> list[Recipe]:
    """Prior data whose behaviours are clumsy less often, and only those of their episodes that went well."""
    return [
        *(
            recipe_named(
                recipe,
                f"{share:g} of the behaviours clumsy",
                priors=tuple(less_clumsy(spec, share) for spec in recipe.priors),
            )
            for share in CLUMSY
        ),
        recipe_named(recipe, "only prior episodes that went well", prior_only=recipe.sub_skill),
    ]


def left_out(recipe: Recipe) -> list[Recipe]:
    """The prior data without one of their behaviours; its episodes are not replaced by others."""
    names = dict.fromkeys(choice.name for spec in recipe.priors for choice in spec.behaviours)
    made = []
    for name in names:
        priors = tuple(found for spec in recipe.priors if (found := without(spec, name)) is not None)
        if priors:
            made.append(recipe_named(recipe, f"without {name}", priors=priors))
    return made


def two_cameras(recipe: Recipe) -> list[Recipe]:
    """The scene seen by the camera at the wrist as well."""
    return [recipe_named(with_wrist(recipe), "with the wrist camera")]


def remembered(recipe: Recipe) -> list[Recipe]:
    """Policies and critics that see the last frames, poses and actions."""
    made = []
    for frames in FRAMES:
        settings = {
            observation: {**changes, "network": {**changes.get("network", {}), "history": frames}}
            for observation, changes in recipe.settings.items()
        }
        made.append(recipe_named(recipe, f"history {frames}", settings=settings))
    return made


def held(recipe: Recipe) -> list[Recipe]:
    """Task data that go on after their success."""
    return [recipe_named(holding(recipe), "with holding")]


VARY: Mapping[Ablation, Vary] = {
    "amount": amounts,
    "prior_share": prior_shares,
    "prior_success": prior_successes,
    "behaviours": left_out,
    "cameras": two_cameras,
    "history": remembered,
    "hold": held,
}
"""What each ablation does to a row."""


def sized(spec: CollectionSpec, factor: float) -> CollectionSpec:
    """The collection with another number of episodes, the first ones of the whole."""
    return dataclasses.replace(spec, episodes=max(1, round(spec.episodes * factor)))


def less_clumsy(spec: CollectionSpec, share: float) -> CollectionSpec:
    """The collection with this share of each clumsy behaviour's episodes; in the others it is competent."""
    choices: list[BehaviourChoice] = []
    for choice in spec.behaviours:
        if not choice.options.get("suboptimal"):
            choices.append(choice)
            continue
        for suboptimal, part in ((True, share), (False, 1 - share)):
            if part > 0:
                options = {**choice.options, "suboptimal": suboptimal}
                choices.append(BehaviourChoice(choice.name, round(choice.weight * part, 6), options))
    return dataclasses.replace(spec, behaviours=tuple(choices))


def without(spec: CollectionSpec, name: str) -> CollectionSpec | None:
    """The collection without a behaviour, smaller by its share; none if nothing is left."""
    kept = tuple(choice for choice in spec.behaviours if choice.name != name)
    if not kept:
        return None
    weight = sum(choice.weight for choice in kept) / sum(choice.weight for choice in spec.behaviours)
    return dataclasses.replace(sized(spec, weight), behaviours=kept)


def draw(path: Path, results: Mapping[str, Any], starts: Sequence[str]) -> None:
    """Success of each variant from each of `starts`, one panel a start, as PNG.

    A dot is a seed; the mark is the mean of the seeds with Wilson's 95 % interval over all their episodes.

    Raises:
        CogError: matplotlib is not installed.
    """
    names = list(dict.fromkeys(entry["row"] for entry in results["summary"]))
    arms = list(dict.fromkeys(entry["arm"] for entry in results["summary"]))
    figure = new_picture(4.2 * len(starts) + 2.6, 0.5 * len(names) + 1.4)
    panels = figure.subplots(1, len(starts), sharey=True, squeeze=False)[0]
    for panel, start in zip(panels, starts, strict=True):
        for entry in (entry for entry in results["summary"] if entry["start"] == start):
            number = arms.index(entry["arm"])
            place = names.index(entry["row"]) + 0.24 * (number - (len(arms) - 1) / 2)
            rate, colour = entry["last_step"]["pooled"], ARMS[entry["arm"]].colour
            value = rate["successes"] / rate["episodes"]
            reach = [[value - rate["low"]], [rate["high"] - value]]
            label = entry["arm"] if entry["row"] == names[0] else None
            panel.errorbar(value, place, xerr=reach, fmt="D", color=colour, capsize=3, ms=5, label=label)
            dots = [
                one["last_step"]["successes"] / one["last_step"]["episodes"]
                for one in results["results"]
                if all(one[name] == entry[name] for name in ("row", "arm", "start"))
            ]
            panel.plot(dots, [place] * len(dots), ".", color=colour, alpha=0.5)
        panel.set_title(f"start: {start}", fontsize=10, loc="left")
        panel.set_xlim(0, 1)
        panel.set_xlabel("success at the last step", fontsize=9)
        panel.set_yticks(range(len(names)), names)
        panel.grid(alpha=0.25, axis="x")
        style(panel)
    panels[0].invert_yaxis()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=8, frameon=False, loc="outside lower center", ncols=len(labels))
    write_picture(path, figure, 130)
