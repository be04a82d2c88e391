"""What pages say of results agrees with the committed files and the recipes."""

from cog.evaluation.intervals import wilson
from cog.experiments.paper.recipes import RECIPES
from cog.experiments.tables.rows import summary
from tests.docs.generate import DATA, committed


def test_every_committed_result_of_a_row_is_in_the_summary() -> None:
    assert {path for kind in ("reproduce", "state") for path in DATA.glob(f"{kind}_*.json")} == {*committed()}


def test_the_summary_of_a_row_counts_its_own_episodes() -> None:
    (result, *_) = committed().values()
    row = result["config"]["rows"][0]
    (line,) = [text for text in summary([result]) if text.startswith(f"| {row} | `cog` |")]
    own = [n["last_step"] for n in result["results"] if (n["arm"], n["start"]) == ("cog", row)]
    counts = [number["successes"] for number in own]
    rate = wilson(sum(counts), sum(number["episodes"] for number in own))
    expected = f"{', '.join(map(str, counts))} of 100 | {rate.value:.0%} [{rate.low:.0%}, {rate.high:.0%}] |"
    assert expected in line


def test_the_committed_results_were_made_by_the_recipes_as_they_are() -> None:
    for result in committed().values():
        for fact in result["data"]:
            recipe = RECIPES[fact["row"]]
            specs = (recipe.task,) if fact["role"] == "task" else recipe.priors
            assert fact["episodes"] in [spec.episodes for spec in specs], (result["command"], fact["data"])
