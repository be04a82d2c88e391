"""The replay buffer: every frame once, as bytes, on the training device if it fits; batches by index."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from cog.errors import CogError, UsageError
from cog.frames import OnDevice, OnHost, fitting
from cog.networks import ObservationShape
from cog.parallel import own


class Transitions(Protocol):
    """Flat arrays of F frames and S steps (see cog.datasets.transitions)."""

    @property
    def frames(self) -> np.ndarray | None:
        """(F, H, W, C) uint8, or none in state mode."""

    @property
    def proprio(self) -> np.ndarray:
        """(F, P) float32."""

    @property
    def actions(self) -> np.ndarray:
        """(S, A) float32 in [-1, 1]."""

    @property
    def rewards(self) -> np.ndarray:
        """(S,) float32."""

    @property
    def terminals(self) -> np.ndarray:
        """(S,) bool."""

    @property
    def frame_index(self) -> np.ndarray:
        """(S,) int64: the frame before each step; the frame after is the next one."""

    @property
    def source(self) -> np.ndarray:
        """(S,) int64: number of the source that each step comes from."""

    @property
    def sources(self) -> Sequence[Mapping[str, Any]]:
        """One {role, name, share, steps} a source."""

    @property
    def fingerprint(self) -> str:
        """Hash of everything above."""


class Batch(NamedTuple):
    """B transitions of one or more steps each. Images are (B, C, H, W) uint8, or floats in [0, 1], or none.

    `rewards` are summed over the steps, discounted; `bootstrap` is the discount of the state after them, 0
    where the episode has ended.
    """

    images: Tensor | None
    next_images: Tensor | None
    proprio: Tensor  # (B, P)
    next_proprio: Tensor  # (B, P)
    actions: Tensor  # (B, A)
    rewards: Tensor  # (B,)
    bootstrap: Tensor  # (B,)
    imitated: Tensor | None = None  # (B,) 1 where the action may be imitated, else 0; none means everywhere


class Buffer:
    """Samples batches on one device, from transitions held there (frames that do not fit stay on the host).

    `drawn` counts, per source, the transitions handed out so far, from which the realised shares follow.
    """

    def __init__(
        self,
        transitions: Transitions,
        device: torch.device,
        batch_size: int,
        sampling: str,
        discount: float,
        steps: int = 1,
        on_message: Callable[[str], None] | None = None,
    ) -> None:
        """Move the transitions to `device`; `on_message` is told the memory first.

        Each transition spans `steps` steps, or fewer at the end of its episode; `discount` is per step.

        Raises:
            CogError: no transitions, or a source that should be sampled holds none.
        """
        count = len(transitions.actions)
        if count == 0:
            raise CogError("the data hold no transitions; collect episodes or check the relabel")
        place = OnDevice if transitions.frames is None else fitting(transitions.frames, device)
        if on_message is not None:
            size = f"{memory(transitions) / 1e6:.1f} MB on {device}"
            if place is OnHost:
                size += ", the frames in the host's memory, since they do not fit there"
            on_message(f"{count} transitions, {len(transitions.proprio)} frames: {size}")

        def move(array: np.ndarray) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(array)).to(device)

        self.device = device
        self.discount = discount
        self.frames = None if transitions.frames is None else place(transitions.frames, device)
        self.proprio = move(transitions.proprio)
        self.actions = move(transitions.actions)
        self.rewards = move(transitions.rewards)
        self.terminals = move(transitions.terminals)
        self.frame_index = move(transitions.frame_index)
        spans = multi_step(
            transitions.rewards, transitions.terminals, transitions.frame_index, discount, steps
        )
        self.returns, self.bootstrap, self.after = (move(array) for array in spans)
        self.source = move(transitions.source)
        self.batch_size = batch_size
        names = [f"{source['role']}:{source['name']}" for source in transitions.sources]
        # Two relabels of one dataset share a name; a number keeps their metrics apart.
        self.names = [name if names.count(name) == 1 else f"{name}#{i}" for i, name in enumerate(names)]
        self.drawn = torch.zeros(len(self.names), dtype=torch.int64, device=device)
        self._shares = [float(source["share"]) for source in transitions.sources]
        self._members = self._balanced() if sampling == "balanced" else None
        image = None if transitions.frames is None else transitions.frames.shape[1:]
        self.shape = ObservationShape(image, transitions.proprio.shape[1])

    def twin(self) -> "Buffer":
        """The same transitions in the same memory, for another run, with counts of its own."""
        other = copy.copy(self)
        other.drawn = torch.zeros_like(self.drawn)
        return other

    def sample(self, generator: torch.Generator, size: int | None = None) -> Batch:
        """Draw one batch with replacement, of `size` transitions if given; a rank gathers its part of it."""

        def fetch() -> Batch:
            return self.gather(own(self.draw(generator, size)))

        return fetch() if self.frames is None else self.frames.fetch(fetch)

    def draw(self, generator: torch.Generator, size: int | None = None) -> Tensor:
        """The places (B,) of the transitions of one batch; `drawn` counts them."""
        size = self.batch_size if size is None else size
        if self._members is None:
            index = torch.randint(len(self.actions), (size,), generator=generator, device=self.device)
            source = self.source[index]
            self.drawn.scatter_add_(0, source, torch.ones_like(source))
        else:
            parts = []
            for number, count in enumerate(batch_counts(self._shares, size)):
                if count:
                    members = self._members[number]
                    pick = torch.randint(len(members), (count,), generator=generator, device=self.device)
                    parts.append(members[pick])
                    self.drawn[number] += count
            index = torch.cat(parts)
        return index

    def refuse_starved(self, size: int, remedy: str) -> None:
        """Refuse batches of `size` in which a source has a share but no transition, however many are drawn.

        Raises:
            UsageError: naming the source and a size that feeds all, which `remedy` may hold as {size}.
        """
        if self._members is None:
            return
        counts = batch_counts(self._shares, size)
        for name, share, count in zip(self.names, self._shares, counts, strict=True):
            if share and not count:
                smallest = min(share for share in self._shares if share)
                enough = math.ceil(round(sum(self._shares) / smallest, 6))  # 40 where 1/40 is the smallest
                raise UsageError(
                    f"source {name} has a share of {share:.3g}, too little for a batch of {size}: it would "
                    f"never be drawn; {remedy.format(size=enough)}"
                )

    def gather(self, index: Tensor) -> Batch:
        """The transitions at `index` (B,)."""
        before = self.frame_index[index]
        after = self.after[index]
        images = next_images = None
        if self.frames is not None:
            # (B, H, W, C) seen as (B, C, H, W) is exactly the channels-last order that convolutions like.
            images = self.frames.gather(before).permute(0, 3, 1, 2)
            next_images = self.frames.gather(after).permute(0, 3, 1, 2)
        return Batch(
            images,
            next_images,
            self.proprio[before],
            self.proprio[after],
            self.actions[index],
            self.returns[index],
            self.bootstrap[index],
        )

    def shares(self) -> dict[str, float]:
        """Realised share of each source in all batches so far."""
        drawn = self.drawn.tolist()
        total = max(sum(drawn), 1)
        return {name: count / total for name, count in zip(self.names, drawn, strict=True)}

    def pose_statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (P,) of the pose over all frames; constant components get scale 1."""
        values = self.proprio.double()
        mean, scale = values.mean(0), values.std(0, correction=0)
        scale = torch.where(scale < 1e-4, torch.ones_like(scale), scale)
        return mean.to(self.proprio.dtype), scale.to(self.proprio.dtype)

    def return_bounds(self) -> tuple[float, float]:
        """Lowest and highest return that any policy could earn under these rewards.

        Where every rewarded step ends its episode, a return is at most the largest reward; otherwise the
        reward may come at every step, 1 / (1 - discount) times.
        """
        low, high = min(float(self.rewards.min()), 0.0), max(float(self.rewards.max()), 0.0)
        persistent = 1 / (1 - self.discount)
        once = bool(self.terminals[self.rewards > 0].all())
        return low * persistent, high if once else high * persistent

    def _balanced(self) -> list[Tensor]:
        """The members of each source; a source that has a share must have some."""
        batch_counts(self._shares, self.batch_size)
        members = [(self.source == number).nonzero()[:, 0] for number in range(len(self._shares))]
        for name, share, found in zip(self.names, self._shares, members, strict=True):
            if share and len(found) == 0:
                raise CogError(
                    f"source {name} has share {share} but holds no transitions; "
                    "collect more or leave it out of the merge"
                )
        return members


def batch_counts(shares: Sequence[float], batch_size: int) -> list[int]:
    """Whole numbers that add up to `batch_size` and follow `shares`, by largest remainder.

    Raises:
        CogError: shares that are negative, not finite or all zero.
    """
    total = sum(shares)
    if not (total > 0 and np.isfinite(total) and min(shares) >= 0):
        raise CogError(f"the shares {list(shares)} must be non-negative and not all zero")
    exact = [share / total * batch_size for share in shares]
    counts = [int(value) for value in exact]
    order = sorted(range(len(shares)), key=lambda i: (counts[i] - exact[i], i))
    for i in order[: batch_size - sum(counts)]:
        counts[i] += 1
    return counts


def multi_step(
    rewards: np.ndarray, terminals: np.ndarray, frame_index: np.ndarray, discount: float, steps: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What each step begins: its rewards over `steps` steps, the discount then, and the frame it is then.

    Returns (S,) float32 discounted rewards, (S,) float32 discounts (0 after a terminal step) and (S,) int64
    frames. A span ends early with its episode, whose last state is bootstrapped from unless terminal.
    """
    size = len(rewards)
    returns = rewards.astype(np.float32)
    discounts: np.ndarray = np.full(size, discount, np.float32)
    open_ = ~terminals
    last: np.ndarray = np.arange(size)
    for _ in range(steps - 1):
        following = np.minimum(last + 1, size - 1)
        # The next step belongs to the same episode if it begins with the frame that this one ends with.
        goes_on = open_ & (following > last) & (frame_index[following] == frame_index[last] + 1)
        returns = np.where(goes_on, returns + discounts * rewards[following], returns)
        discounts = np.where(goes_on, discounts * np.float32(discount), discounts)
        last = np.where(goes_on, following, last)
        open_ = ~terminals[last] & goes_on
    return returns, discounts * ~terminals[last], frame_index[last] + 1


def memory(transitions: Transitions) -> int:
    """Bytes that the transitions take on the device."""
    arrays = [transitions.proprio, transitions.actions, transitions.rewards]
    arrays += [transitions.frame_index, transitions.source]
    arrays += [] if transitions.frames is None else [transitions.frames]
    return sum(array.nbytes for array in arrays) + 4 * len(transitions.terminals)
