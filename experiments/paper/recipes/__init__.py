"""The rows of the paper's table as recipes, one file each; their numbers are in `numbers`."""

from collections.abc import Mapping

from cog.experiments.paper.recipes.blocked_drawer import BLOCKED_DRAWER
from cog.experiments.paper.recipes.blocked_object import BLOCKED_OBJECT
from cog.experiments.paper.recipes.closed import CLOSED
from cog.experiments.paper.recipes.pick_place import PICK_PLACE
from cog.experiments.paper.recipes.recipe import Recipe

RECIPES: Mapping[str, Recipe] = {
    recipe.name: recipe for recipe in (CLOSED, BLOCKED_DRAWER, BLOCKED_OBJECT, PICK_PLACE)
}
"""Every row by name, in the paper's order."""
