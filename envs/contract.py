"""The contract of a scene: what it must bring, and what every one of its frames must be.

`promised` reads the contract off a scene's attributes and spaces, `Contract.check` compares a frame with it,
`try_out` does so before anything is recorded. `cog.envs.held` does so at every frame.
"""

import inspect
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cog.errors import CogError, UsageError
from cog.signals import pictures
from cog.signals.stages import furthest_stage
from cog.users import users_code

OBSERVATIONS = {"image": ("image", "proprio"), "state": ("state",)}
"""Observations of policies, by the scene's argument `observation`."""
MORE = {"image": "beside them only pictures of further cameras", "state": "nothing else"}
FURTHER = (
    "leave it out, or make it the picture of a further camera, "
    "Box(0, 255, (H, W, 3), np.uint8), or (H, W, 1) in grey"
)
REAL = "fiu"  # kinds of the types of observations
LARGEST = float(np.finfo(np.float32).max)  # numbers are stored as float32
SCALE = "give rows, columns and colours (RGB) as whole numbers from 0 to 255"
RESET = "return (observation, info) from reset(self, *, seed=None, options=None)"
STEP = "return (observation, reward, terminated, truncated, info) from step(self, action)"
ALWAYS = "make both the same, at every frame"
SUCCESS, REWARD = "success", "reward"  # signals to which rewards give a meaning
MANY = 100  # frames on which the predicates of stages are tried


@dataclass(frozen=True)
class Contract:
    """What a scene has promised of every frame."""

    shapes: Mapping[str, tuple[int, ...]]
    """Shape of each observation."""
    signals: tuple[str, ...]
    """Names of its signals."""

    def check(self, observation: Any, info: Any) -> None:
        """Compare a frame with the promise.

        Raises:
            CogError: naming the rule that the frame breaks.
        """
        if not isinstance(observation, Mapping):
            raise CogError(
                f"it observes {kind(observation)}", remedy=f"return a dict of {_list(self.shapes)}"
            )
        if observation.keys() != self.shapes.keys():
            wanted = f"return {_list(self.shapes)} and nothing else"
            raise CogError(f"it observes {_list(observation)}", remedy=wanted)
        for name, shape in self.shapes.items():
            if len(shape) == 3:
                check_picture(observation[name], name, shape)
            else:
                _check_numbers(observation[name], name, shape)
        if not isinstance(info, Mapping):
            raise CogError(f"its info is {kind(info)}", remedy="return a dict with 'signals' and 'success'")
        if missing := [word for word in ("signals", "success") if word not in info]:
            raise CogError(f"its info lacks {' and '.join(missing)}", remedy="give both in reset and step")
        check_success(info["success"])
        signals = info["signals"]
        if not isinstance(signals, Mapping) or signals.keys() != set(self.signals):
            found = _list(signals) if isinstance(signals, Mapping) else kind(signals)
            rule = f"signal_names lists {_list(self.signals)}, but info['signals'] has {found}"
            raise CogError(rule, remedy=ALWAYS)
        for name, value in signals.items():
            if number(value) is None:
                raise CogError(f"signal {name!r} must be a finite number, not {value!r}")
        check_meaning(signals, SUCCESS, bool(flag(info["success"])), "info['success']")


def promised(env: Any, name: str, observation: str) -> Contract:
    """The contract of the scene `name`, built to show `observation`: "image" or "state".

    Beside the image it may show pictures of further cameras by their names, each of its own size.

    Raises:
        UsageError: it lacks an attribute or an argument, or its spaces are not those of a scene.
    """
    import gymnasium.spaces as spaces

    scene = env.unwrapped
    if missing := [word for word in ("starts", "signal_names") if not hasattr(scene, word)]:
        raise UsageError(
            f"{name} lacks the attribute {' and '.join(missing)}", remedy="define it as a tuple of names"
        )
    for word in ("starts", "signal_names"):
        check_names(word, getattr(scene, word), name)
    check_arguments(scene, name, "reset", "seed", "options")
    if not isinstance(env.metadata, Mapping):
        remedy = 'make it a dict, such as {"render_modes": ["rgb_array"], "render_fps": 10}'
        raise UsageError(f"metadata of {name} is {kind(env.metadata)}", remedy=remedy)
    space, wanted = env.observation_space, OBSERVATIONS[observation]
    if not isinstance(space, spaces.Dict):
        raise UsageError(f"{name} must observe Dict(image=…, proprio=…) or Dict(state=…), not {space}")
    further = [word for word in space.spaces if word not in wanted]
    if not set(wanted) <= set(space.spaces) or (further and observation == "state"):
        rule = f"the observation_space of {name} has {_list(space.spaces)}"
        raise UsageError(
            rule, remedy=f"with observation={observation!r}, give it {_list(wanted)} and {MORE[observation]}"
        )
    for word, part in space.spaces.items():
        if word in further:
            _check_camera(word, part, name)
        elif word == "image":
            if not (isinstance(part, spaces.Box) and is_picture(part.dtype, part.shape)):
                rule = f"the space of image of {name} is {part}"
                raise UsageError(rule, remedy="make it Box(0, 255, (H, W, 3), np.uint8), and " + SCALE)
        elif not (isinstance(part, spaces.Box) and len(part.shape) == 1 and part.shape[0] > 0):
            raise UsageError(f"the space of {word} of {name} is {part}", remedy="make it a Box of shape (P,)")
    action = env.action_space
    bounded = isinstance(action, spaces.Box) and len(action.shape) == 1 and action.shape[0] > 0
    if not (bounded and np.all(action.low == -1) and np.all(action.high == 1)):
        raise UsageError(f"{name} must take actions from Box(-1, 1, (A,)), not {action}")
    shapes = {word: tuple(part.shape or ()) for word, part in space.spaces.items()}
    return Contract(shapes, tuple(scene.signal_names))


def check_names(word: str, values: Any, name: str) -> None:
    """Refuse the attribute `word` of the scene `name` if it is no collection of distinct names.

    Raises:
        UsageError: it is something else, or names nothing.
    """
    several = isinstance(values, Collection) and not isinstance(values, str)
    named = several and all(isinstance(value, str) for value in values)
    if not named or len(values) == 0 or len(set(values)) != len(values):
        remedy = "name at least one" if named and len(values) == 0 else "make it a tuple of distinct names"
        raise UsageError(f"{word} of {name} is {values!r}", remedy=remedy)


def check_arguments(env: Any, name: str, method: str, *arguments: str) -> None:
    """Refuse an environment whose method does not take these arguments by name.

    Raises:
        UsageError: it lacks one.
    """
    parameters = inspect.signature(getattr(env, method)).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    known = {parameter.name for parameter in parameters if parameter.kind is not parameter.POSITIONAL_ONLY}
    if missing := [word for word in arguments if word not in known]:
        rule = f"{method}() of {name} takes no {' and no '.join(missing)}"
        raise UsageError(
            rule, remedy=f"define {method}(self, *, {', '.join(f'{word}=None' for word in arguments)})"
        )


def try_out(env: Any, name: str) -> None:
    """Reset a scene, evaluate its stages, take one step, and reset it again: later is too late.

    Raises:
        UsageError: it breaks its contract, or its stages are no pairs of a name and a predicate.
    """
    try:
        _, info = env.reset(seed=0)
        _check_stages(env, name, info["signals"])
        env.step(np.zeros(env.action_space.shape, np.float32))
        env.reset(seed=0)
    except UsageError:
        raise
    except CogError as error:  # nothing has begun yet
        raise UsageError(error.what, where=error.where, remedy=error.remedy) from error


def _check_stages(env: Any, name: str, signals: Mapping[str, float]) -> None:
    """Evaluate the scene's failure stages, if any, on the first frame, alone and many times over.

    Raises:
        UsageError: they are not pairs of a name and a predicate on its signals.
    """
    with users_code(f"'stages' of {name}"):
        stages = tuple(getattr(env.unwrapped, "stages", ()))
    for number, stage in enumerate(stages):
        rule = f"stage {number} of {name} must be a pair of a name and a predicate on its signals"
        if not isinstance(stage, tuple | list) or len(stage) != 2:
            raise UsageError(f"{rule}, not {stage!r}", remedy="see cog.signals.stages")
        try:
            for frames in (1, MANY):  # one that gives a fixed number of frames may fit either
                values = {signal: np.full(frames, value) for signal, value in signals.items()}
                furthest_stage(values, False, [tuple(stage)])
        except CogError as error:
            remedy = error.remedy or "see cog.signals.stages"
            raise UsageError(f"{rule}: {error.what}", remedy=remedy) from error


def draws_pictures(env: Any) -> bool:
    """Whether `render` gives an image; the environment must have been reset.

    Raises:
        UsageError: what it gives is not (H, W, 3) uint8.
    """
    import gymnasium

    if type(env.unwrapped).render is gymnasium.Env.render:
        return False
    try:
        return env.render() is not None
    except UsageError:
        raise
    except CogError as error:
        raise UsageError(error.what, where=error.where, remedy=error.remedy) from error


def check_picture(value: Any, name: str, shape: tuple[int, ...] | None = None) -> None:
    """Refuse what is not a picture uint8 of this shape, by default any (H, W, 3).

    Raises:
        CogError: naming its type and shape.
    """
    found = as_array(value, name)
    fits = is_picture(found.dtype, found.shape) if shape is None else found.shape == shape
    if found.dtype != np.uint8 or not fits:
        wanted = "(H, W, 3)" if shape is None else shape
        raise CogError(f"{name} must be uint8 {wanted}, found {found.dtype} {found.shape}", remedy=SCALE)


def check_success(value: Any) -> None:
    """Refuse what says neither that a frame is a success nor that it is none.

    Raises:
        CogError: naming it.
    """
    if flag(value) is None:
        raise CogError(f"success is {value!r}", remedy="make it true or false")


def check_meaning(signals: Mapping[str, Any], name: str, meant: float, what: str) -> None:
    """Refuse a signal whose name rewards take for what the scene says elsewhere, if it says something else.

    The rule `recorded_success` reads the signal `success`, and `recorded` the signal `reward`.

    Raises:
        CogError: naming both.
    """
    said = number(signals[name]) if name in signals else None
    if said is not None and np.float32(said) != np.float32(meant):  # as they are stored
        rule = f"signal {name!r} is {said:g}, but {what} is {meant!r}"
        raise CogError(rule, remedy="make both the same, at every frame, or give the signal another name")


def several(returned: Any, count: int, wanted: str) -> Any:
    """What a scene returned, if it is `count` values; `wanted` says which.

    Raises:
        CogError: it is something else.
    """
    if not isinstance(returned, tuple | list) or len(returned) != count:
        found = f"{len(returned)} values" if isinstance(returned, tuple | list) else kind(returned)
        raise CogError(f"it returns {found}, not {count}", remedy=wanted)
    return returned


def is_picture(dtype: Any, shape: tuple[int, ...]) -> bool:
    """Whether an array is a picture: rows, columns and three colours of whole numbers from 0 to 255."""
    try:
        pictures.check_picture(np.dtype(dtype), shape)
    except pictures.UnfitError:
        return False
    return True


def number(value: Any) -> float | None:
    """A real scalar, or an array of one number, if it is finite in float32; otherwise None."""
    if not isinstance(value, float | int):
        try:
            found = np.asarray(value)
        except (TypeError, ValueError, RuntimeError):
            return None
        if found.size != 1 or found.dtype.kind not in "fiub":
            return None
        value = found.item()
    return float(value) if abs(value) <= LARGEST else None


def flag(value: Any) -> bool | None:
    """True or false, also as 1 or 0; otherwise None."""
    found = value if isinstance(value, bool | np.bool_) else number(value)
    return bool(found) if found in (0, 1) else None


def kind(value: Any) -> str:
    """What a value is, for people."""
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    shape = getattr(value, "shape", None)
    return f"{type(value).__name__}" + ("" if shape is None else f" of shape {tuple(shape)}")


def _check_camera(word: Any, part: Any, name: str) -> None:
    """Refuse the space `part` of the entry `word` of the scene `name` if it is no further camera's.

    Raises:
        UsageError: it is no picture, or data hold no camera of that name.
    """
    import gymnasium.spaces as spaces

    if not (isinstance(part, spaces.Box) and pictures.is_further_picture(part.dtype, part.shape)):
        raise UsageError(f"the space of {word} of {name} is {part}", remedy=FURTHER)
    if not pictures.is_camera_name(word):
        rule = f"{name} observes a further picture called {word!r}"
        raise UsageError(rule, remedy=f"name it by {pictures.CAMERA_NAMES}")


def as_array(value: Any, name: str) -> np.ndarray:
    """A value that is called `name` as an array of any type.

    Raises:
        CogError: it is none, such as rows of several lengths or a tensor that NumPy cannot read.
    """
    try:
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise CogError(f"{name} is no array ({' '.join(str(error).split())})") from error


def _check_numbers(value: Any, name: str, shape: tuple[int, ...]) -> None:
    found = as_array(value, name)
    if found.shape != shape:
        rule = f"it observes {name} of shape {found.shape}, but its space has {shape}"
        raise CogError(rule, remedy=ALWAYS)
    if found.dtype.kind not in REAL:
        raise CogError(f"{name} must hold real numbers, found type {found.dtype}", remedy=ALWAYS)
    with np.errstate(over="ignore"):
        finite = np.isfinite(found.astype(np.float32))
    if not finite.all():
        entry = int(np.flatnonzero(~finite)[0])
        raise CogError(f"{name}[{entry}] is {found[entry]}; it must be finite in float32")


def _list(names: Any) -> str:
    return ", ".join(sorted(map(str, names))) or "nothing"
