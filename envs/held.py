"""A scene held to its contract at every frame, by whoever steps it.

Collection, teleoperation, evaluation and fine-tuning build their scenes with `make_environment`, which puts
`Held` around them: what a scene shows or raises ends the episode with one line, not with a wrong recording.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import gymnasium

from cog.envs.contract import (
    RESET,
    REWARD,
    STEP,
    check_meaning,
    check_picture,
    flag,
    number,
    promised,
    several,
)
from cog.errors import CogError, UsageError
from cog.users import users_code


class Held(gymnasium.Wrapper[Any, Any, Any, Any]):
    """A scene whose `reset`, `step`, `render` and `close` raise CogError where it breaks its contract.

    Whatever else the scene raises is one line as well, `sys.exit` included. Rewards and the two flags of an
    end come as Python's own numbers.
    """

    def __init__(self, env: Any, name: str, observation: str) -> None:
        """`name` is the scene's id, `observation` what it was built to show, "image" or "state".

        Raises:
            UsageError: it lacks an attribute, or its spaces are not those of a scene.
        """
        super().__init__(env)
        self._name = name
        self._contract = promised(env, name, observation)
        self._seed: int | None = None
        self._frame = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Begin an episode; observation and info."""
        self._seed, self._frame = seed, 0
        with self._named("reset()"):
            returned = self.env.reset(seed=seed, options=options)
            observation, info = several(returned, 2, RESET)
            self._contract.check(observation, info)
        return observation, info

    def step(self, action: Any) -> Any:
        """Take a step; observation, reward, terminated, truncated and info."""
        self._frame += 1
        with self._named("step()"):
            observation, reward, *ends, info = several(self.env.step(action), 5, STEP)
            self._contract.check(observation, info)
            if (earned := number(reward)) is None:
                raise CogError(f"the reward must be a finite number, not {reward!r}")
            check_meaning(info["signals"], REWARD, earned, "the step's reward")
            flags = [flag(end) for end in ends]
            for word, end, found in zip(("terminated", "truncated"), ends, flags, strict=True):
                if found is None:
                    raise CogError(f"{word} must be true or false, not {end!r}", remedy=STEP)
        return observation, earned, *flags, info

    def render(self) -> Any:
        """A picture for people (H, W, 3) uint8; None where the scene draws none."""
        with self._named("render()"):
            picture = self.env.render()
            if picture is not None:
                check_picture(picture, "render()")
        return picture

    def close(self) -> None:
        """Close the scene; what that raises is not told where an error is on its way already."""
        with suppress(*([CogError] if sys.exc_info()[0] else [])), self._named("close()"):
            self.env.close()

    @contextmanager
    def _named(self, call: str) -> Iterator[None]:
        """Say of which scene and frame an error is, and that it arose in this call of a user's code."""
        try:
            with users_code(call):
                yield
        except UsageError:  # something was asked for that does not exist, such as a start
            raise
        except CogError as error:
            if error.where is not None:
                raise
            episode = "" if self._seed is None else f" of the episode with seed {self._seed}"
            where = f"{self._name}, frame {self._frame}{episode}"
            raise CogError(error.what, where=where, remedy=error.remedy) from error
