"""Whatever a user's code does, wherever it is called: one line says whose code and where."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cog import cli
from cog.datasets.collection.collect import collect
from cog.datasets.collection.spec import BehaviourChoice, CollectionSpec
from cog.envs.make import Environments, make_environment, starts_of
from cog.errors import CogError, UsageError
from cog.evaluation.check import check_scene
from cog.networks.encoder import ObservationShape
from cog.users import users_code
from tests.helpers.breaking_scene import Breaking, Go

ENV = "tests.helpers.breaking_scene:toy/Breaking-v0"
SPEC = CollectionSpec(2, (BehaviourChoice("go"),), ("left",), ENV, image_size=8, max_episode_steps=3)
HERE = r"\(test_hooks\.py, line \d+\)"


def leaves(*arguments: Any, **options: Any) -> Any:
    raise SystemExit(0)


def fails(*arguments: Any, **options: Any) -> Any:
    raise RuntimeError("too\nhot")


ENDS = {
    leaves: rf"ends the program: sys\.exit\(0\) {HERE}\. Raise an exception there, or return",
    fails: f"raises RuntimeError: too hot {HERE}",
}
HOOKS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "__init__": lambda hook: {"__init__": hook},
    "starts": lambda hook: {"starts": property(hook)},
    "signal_names": lambda hook: {"signal_names": property(hook)},
    "stages": lambda hook: {"stages": property(hook)},
    "a stage": lambda hook: {"stages": (("far", hook),)},
    "reset": lambda hook: {"reset": lambda self, *, seed=None, options=None: hook()},
    "step": lambda hook: {"step": hook},
    "close": lambda hook: {"close": hook},
    "behaviours": lambda hook: {"behaviours": property(hook)},
    "a behaviour": lambda hook: {"behaviours": {"go": type("Go", (Go,), {"__init__": hook})}},
    "act": lambda hook: {"behaviours": {"go": type("Go", (Go,), {"act": hook})}},
    "done": lambda hook: {"behaviours": {"go": type("Go", (Go,), {"done": property(hook)})}},
}
OF_BEHAVIOURS = ("behaviours", "a behaviour", "act", "done")


@pytest.mark.parametrize("ending", ENDS, ids=lambda ending: ending.__name__)
@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_that_fails_or_ends_the_program_ends_a_collection_in_one_line(
    name: str, ending: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for word, value in HOOKS[name](ending).items():
        monkeypatch.setattr(Breaking, word, value, raising=False)
    with pytest.raises(CogError, match=ENDS[ending]) as refused:
        collect(SPEC, tmp_path / "data", workers=1)
    assert "\n" not in str(refused.value) and not (tmp_path / "data").exists()
    assert ENV in str(refused.value) or name in ("a behaviour", "act")


@pytest.mark.parametrize("ending", ENDS, ids=lambda ending: ending.__name__)
@pytest.mark.parametrize("name", [name for name in HOOKS if name not in OF_BEHAVIOURS])
def test_it_ends_an_evaluation_in_one_line_before_the_first_episode(
    name: str, ending: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for word, value in HOOKS[name](ending).items():
        monkeypatch.setattr(Breaking, word, value, raising=False)
    with pytest.raises(CogError, match=ENDS[ending]) as refused:
        check_scene(SPEC.scene(), ObservationShape((8, 8, 3), 3), 2, ("left",), {})
    assert ENV in str(refused.value) and "\n" not in str(refused.value)


def test_the_last_close_is_told_with_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    environments = Environments(SPEC.scene(), 1)
    environments.env(0).reset(seed=4)
    monkeypatch.setattr(Breaking, "close", leaves)
    with pytest.raises(CogError, match=rf"{ENV}, .*seed 4: close\(\) ends the program"):
        environments.close()


def test_an_error_that_is_on_its_way_is_told_instead_of_one_in_close(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Breaking, "close", fails)
    env = make_environment(SPEC.scene())
    with pytest.raises(ZeroDivisionError):
        try:
            raise ZeroDivisionError
        finally:
            env.close()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ((), r"starts of .* is \(\)\. Name at least one"),
        ([], r"starts of .* is \[\]\. Name at least one"),
        ("left", "starts of .* is 'left'. Make it a tuple of distinct names"),
        (("left", "left"), "distinct names"),
        (("left", 2), "distinct names"),
        (5, "starts of .* is 5"),
        (None, "starts of .* is None"),
    ],
)
def test_starts_that_name_nothing_are_refused_as_such(
    value: Any, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(Breaking, "starts", value)
    with pytest.raises(UsageError, match=said):
        starts_of(ENV)
    with pytest.raises(UsageError, match=said):
        make_environment(SPEC.scene())
    command = ["collect", "--env", ENV, "--behaviour", "go", "--episodes", "1", "--out", str(tmp_path / "d")]
    assert cli.run(command) == 2
    assert f"starts of {ENV}" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "gives None. Give one number for each component"),
        (np.array([1j, 0]), "type complex128, not of real numbers"),
        (np.array([True, False]), "type bool, not of real numbers"),
        (np.array([0.5, None]), "type object, not of real numbers"),
        (["0.5", "0.5"], "type <U3, not of real numbers"),
        ([[0.5], [0.5, 0.5]], "gives an action that is no array"),
        ([0.5], r"of shape \(1,\), but the scene takes \(2,\)"),
        ([0.5, float("nan")], r"not finite: \[0\.5, nan\]"),
    ],
    ids=str,
)
def test_a_behaviour_that_gives_no_real_numbers_is_refused(
    given: Any, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    giving = type("Go", (Go,), {"act": lambda self: given})
    monkeypatch.setattr(Breaking, "behaviours", {"go": giving})
    with pytest.raises(UsageError, match=rf"{ENV}, frame 0 .*: behaviour 'go' .*{said}"):
        collect(SPEC, tmp_path / "data", workers=1)
    assert not (tmp_path / "data").exists()


def test_a_file_of_the_toolkit_is_never_named_as_the_users_place() -> None:
    with pytest.raises(CogError) as refused, users_code("it"):
        cli.parse(3)  # type: ignore[arg-type]
    own = str(refused.value)
    assert "test_hooks.py" in own and "cli.py" not in own
