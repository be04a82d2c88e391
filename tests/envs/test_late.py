"""What goes wrong late in an episode, in a policy or an environment, is named with its seed and frame."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from cog.datasets.collection.collect import collect
from cog.datasets.collection.spec import BehaviourChoice
from cog.errors import CogError
from tests.envs.test_plain import SPEC, Cart

HERE = "tests.envs.test_late"


class Turning(Cart):
    """The cart, whose observation is another one from its third frame on."""

    late: Callable[[dict[str, Any]], dict[str, Any]] = staticmethod(lambda seen: seen)

    def reset(self, **options: Any) -> Any:
        self.frame = -1
        return super().reset(**options)

    def _see(self) -> Any:
        self.frame += 1
        seen = super()._see()
        return seen if self.frame < 2 else type(self).late(seen)


LATER = {
    "lacking": (lambda seen: {"place": seen["place"]}, "the observation lacks 'speed'; it has 'place'"),
    "empty": (lambda seen: {}, "the observation lacks 'place', 'speed'; it has nothing"),
    "none": (lambda seen: None, "it observes NoneType, but its space is Dict"),
    "complex": (
        lambda seen: seen | {"place": seen["place"] * 1j},
        "the observation 'place' must hold real numbers, found type complex128",
    ),
    "text": (
        lambda seen: seen | {"place": np.array(["far", "away"])},
        "the observation 'place' must hold real numbers, found type <U4",
    ),
    "object": (
        lambda seen: seen | {"place": [None, 1.0]},
        "the observation 'place' must hold real numbers, found type object",
    ),
    "ragged": (lambda seen: seen | {"place": [[1, 2], [3]]}, "the observation 'place' is no array"),
}


@pytest.mark.filterwarnings("error::numpy.exceptions.ComplexWarning")
@pytest.mark.parametrize("name", LATER)
def test_a_later_observation_of_another_kind_is_named_by_key_type_and_frame(
    name: str, tmp_path: Path
) -> None:
    late, said = LATER[name]
    if (env := f"toy/Late{name.title()}-v0") not in gymnasium.registry:
        kind = type(f"Turning{name.title()}", (Turning,), {"late": staticmethod(late)})
        gymnasium.register(env, entry_point=kind, max_episode_steps=9)
    spec = replace(SPEC, env=env, env_options={"shown": "place+speed"})
    where = rf"{env}, frame 2 of the episode with seed {spec.episode_seed(0, 0)}: "
    with pytest.raises(CogError, match=where + said) as refused:
        collect(spec, tmp_path / "data", workers=1)
    assert "\n" not in str(refused.value)


class Late:
    """A policy that is right until its second episode's third frame, by a count that `reset` begins anew."""

    def __init__(self, last: Callable[[], Any]) -> None:
        self.last, self.episodes, self.frames = last, 0, 0

    def reset(self) -> None:
        self.episodes, self.frames = self.episodes + 1, 0

    def __call__(self, seen: Any) -> Any:
        self.frames += 1
        return np.zeros(2) if self.episodes < 3 or self.frames < 4 else self.last()


LATE = {
    "late_shape": (lambda: np.zeros(3), r"an action of shape \(3,\)"),
    "late_nan": (lambda: np.array([np.nan, 0]), "an action that is not finite"),
    "late_complex": (lambda: np.zeros(2, complex), "an action of type complex128"),
    "late_none": (lambda: None, "gives None"),
    "late_error": (lambda: 1 / 0, "raises ZeroDivisionError"),
}
late_shape, late_nan, late_complex, late_none, late_error = (Late(last) for last, _ in LATE.values())


@pytest.mark.parametrize("policy", LATE)
def test_a_policy_that_fails_late_is_named_with_its_frame_and_the_seed_of_its_episode(
    policy: str, tmp_path: Path
) -> None:
    spec = replace(SPEC, behaviours=(BehaviourChoice(f"{HERE}:{policy}"),))
    seed = spec.episode_seed(1, 0)  # the first `reset` was for the trial before anything is written
    said = rf"Cart-v0, frame 3 of the episode with seed {seed}: policy '.*:{policy}' .*{LATE[policy][1]}"
    with pytest.raises(CogError, match=said):
        collect(spec, tmp_path / "data", workers=1)


class Counting:
    """A policy that pushes harder with every step of an episode."""

    def __init__(self) -> None:
        self.step = 7

    def reset(self) -> None:
        self.step = 0

    def __call__(self, seen: Any) -> np.ndarray:
        self.step += 1
        return np.array([0.1 * self.step, 0.0])


counting = Counting()


def test_a_policy_with_a_state_begins_every_episode_anew(tmp_path: Path) -> None:
    spec = replace(SPEC, behaviours=(BehaviourChoice(f"{HERE}:counting"),))
    for episode in collect(spec, tmp_path / "data", workers=1).episodes():
        pushed = -3 + (episode.actions[:, 0].astype(float) + 1) / 2 * 8
        np.testing.assert_allclose(pushed, 0.1 * np.arange(1, len(episode) + 1), atol=1e-5)
