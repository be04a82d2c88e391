"""The replay buffer: stores each frame once, as bytes, on the device if they fit; batches by index."""

import copy
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from cog.core.parallel import own
from cog.datasets.transitions import Transitions
from cog.errors import CogError, UsageError
from cog.networks.config import NetworkConfig
from cog.networks.encoder import Images, ObservationShape, channels_first
from cog.replay.frames import Frames, OnDevice, OnHost, fitting
from cog.replay.history import Past, statistics_with


class Batch(NamedTuple):
    """B transitions of one or more steps each. Images are (B, C, H, W) uint8, or floats in [0, 1], or none.

    Those of several cameras are a tuple in the order of the buffer's shape; where the buffer's shape has a
    history, images and poses hold it.
    `rewards` are discounted sums over the steps; `bootstrap` is the discount of the value of the state after
    them, 0 where the episode has terminated.
    """

    images: Images | None
    next_images: Images | None
    proprio: Tensor  # (B, P)
    next_proprio: Tensor  # (B, P)
    actions: Tensor  # (B, A)
    rewards: Tensor  # (B,)
    bootstrap: Tensor  # (B,)
    imitated: Tensor | None = None  # (B,) 1 where the action may be imitated, else 0; None: everywhere


class Buffer:
    """Samples batches on one device from transitions stored there (frames that do not fit stay on the host).

    `drawn` counts the transitions drawn so far from each source, from which the realised shares follow.
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
        network: NetworkConfig | None = None,
    ) -> None:
        """Move the transitions to `device`, reporting the memory they take to `on_message` first.

        Each transition spans `steps` steps, or fewer at the end of its episode; `discount` is per step.
        `network` says how many frames a batch shows at once. Default: one.

        Raises:
            CogError: there are no transitions, or none from a source that has a share.
            UsageError: `network` asks for a history of what the transitions lack.
        """
        count = len(transitions.actions)
        if count == 0:
            raise CogError("the data hold no transitions", remedy="collect episodes or check the relabel")
        shape = ObservationShape(
            None if transitions.frames is None else transitions.frames.shape[1:],
            transitions.proprio.shape[1],
            tuple((name, frames.shape[1:]) for name, frames in transitions.cameras.items()),
            transitions.first,
        )
        self.network = network or NetworkConfig()
        self.shape = shape.with_history(self.network, transitions.actions.shape[1])
        pictures = [] if transitions.frames is None else [transitions.frames, *transitions.cameras.values()]
        place = fitting(sum(frames.nbytes for frames in pictures), device) if pictures else OnDevice
        if on_message is not None:
            size = f"{memory(transitions) / 1e6:.1f} MB on {device}"
            if place is OnHost:
                size += ", frames in host memory, since they do not fit there"
            on_message(f"{count} transitions, {len(transitions.proprio)} frames: {size}")

        def move(array: np.ndarray) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(array)).to(device)

        self.device = device
        self.discount = discount
        self.frames: tuple[Frames, ...] = tuple(place(frames, device) for frames in pictures)
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
        # Two views of one dataset share a name; a number separates their metrics.
        self.names = [name if names.count(name) == 1 else f"{name}#{i}" for i, name in enumerate(names)]
        self.drawn = torch.zeros(len(self.names), dtype=torch.int64, device=device)
        self._shares = [float(source["share"]) for source in transitions.sources]
        self._members = self._balanced() if sampling == "balanced" else None
        self.past: Past | None = None
        if self.shape.history is not None:
            self.past = Past.of(transitions.frame_index, len(transitions.proprio), device)

    def twin(self) -> "Buffer":
        """A buffer for another run, which shares this memory and counts its own draws."""
        other = copy.copy(self)
        other.drawn = torch.zeros_like(self.drawn)
        return other

    def sample(self, generator: torch.Generator, size: int | None = None) -> Batch:
        """Draw a batch with replacement, of `size` transitions if given; a rank gathers only its own part."""

        def fetch() -> Batch:
            return self.gather(own(self.draw(generator, size)))

        return self.frames[0].fetch(fetch) if self.frames else fetch()

    def draw(self, generator: torch.Generator, size: int | None = None) -> Tensor:
        """Indices (B,) of the transitions of one batch; they are added to `drawn`."""
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

    def drawable(self) -> Tensor:
        """Indices (n,) of the transitions that a batch may hold: a source with a share of 0 has none."""
        steps = torch.arange(len(self.actions), device=self.device)
        if self._members is None:
            return steps
        shares = torch.tensor(self._shares, device=self.device)
        return steps[shares[self.source] > 0]

    def refuse_starved(self, size: int, remedy: str) -> None:
        """Refuse batches of `size` from which a source with a share would always be missing.

        Raises:
            UsageError: naming the source; `remedy` may contain {size}, the smallest size that includes every
            source.
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
                    "never be drawn",
                    remedy=remedy.format(size=enough),
                )

    def gather(self, index: Tensor) -> Batch:
        """The transitions at `index` (B,)."""
        before = self.frame_index[index]
        after = self.after[index]
        return Batch(
            self._images(before),
            self._images(after),
            self._poses(before),
            self._poses(after),
            self.actions[index],
            self.returns[index],
            self.bootstrap[index],
        )

    def _images(self, frames: Tensor) -> Images | None:
        """What the cameras show in these frames (B,)."""
        return channels_first([self._shown(camera, frames) for camera in self.frames])

    def _shown(self, camera: Frames, frames: Tensor) -> Tensor:
        """What one camera shows in these frames (B,) and, with a history, before: (B, H, W, C)."""
        history = self.shape.history
        if self.past is None or history is None or history.images == 1:
            return camera.gather(frames)
        return self.past.images(camera.gather, frames, history)

    def _poses(self, frames: Tensor) -> Tensor:
        """The poses in these frames (B,) and, with a history, those before and the actions between."""
        if self.past is None or self.shape.history is None:
            return self.proprio[frames]
        return self.past.poses(self.proprio, self.actions, frames, self.shape.history)

    def shares(self) -> dict[str, float]:
        """Realised share of each source over all batches so far."""
        drawn = self.drawn.tolist()
        total = max(sum(drawn), 1)
        return {name: count / total for name, count in zip(self.names, drawn, strict=True)}

    def pose_statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (P,) of one pose over all frames; constant components get scale 1."""
        values = self.proprio.double()
        mean, scale = values.mean(0), values.std(0, correction=0)
        scale = torch.where(scale < 1e-4, torch.ones_like(scale), scale)
        return mean.to(self.proprio.dtype), scale.to(self.proprio.dtype)

    def standardisation(self) -> tuple[Tensor, Tensor]:
        """Mean and scale of what a batch holds as the pose: `pose_statistics`, repeated over a history."""
        mean, scale = self.pose_statistics()
        history = self.shape.history
        return (mean, scale) if history is None else statistics_with(history, mean, scale)

    def success_reward(self) -> float | None:
        """The reward of a step that ends its episode, if these data pay nothing else; otherwise None."""
        paid = self.rewards != 0
        reward = float(self.rewards.max())
        once = bool((self.rewards[paid] == reward).all() & self.terminals[paid].all())
        return reward if once and reward >= 0 else None

    def return_bounds(self) -> tuple[float, float]:
        """Lowest and highest return that any policy could earn under these rewards.

        Where every rewarded step ends its episode, a return is at most the largest reward; otherwise the
        reward may come at every step, which multiplies it by 1 / (1 - discount).
        """
        low, high = min(float(self.rewards.min()), 0.0), max(float(self.rewards.max()), 0.0)
        persistent = 1 / (1 - self.discount)
        once = bool(self.terminals[self.rewards > 0].all())
        return low * persistent, high if once else high * persistent

    def _balanced(self) -> list[Tensor]:
        """Indices of the transitions of each source; a source with a share must have some."""
        batch_counts(self._shares, self.batch_size)
        members = [(self.source == number).nonzero()[:, 0] for number in range(len(self._shares))]
        for name, share, found in zip(self.names, self._shares, members, strict=True):
            if share and len(found) == 0:
                raise CogError(
                    f"source {name} has share {share} but holds no transitions",
                    remedy="collect more or leave it out of the merge",
                )
        return members


def batch_counts(shares: Sequence[float], batch_size: int) -> list[int]:
    """Integers that add up to `batch_size` in proportion to `shares`, by the largest-remainder method.

    Raises:
        CogError: shares are negative, not finite or all zero.
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
    """n-step returns: for each of S steps, its transition over up to `steps` steps.

    R = sum_{k<n} discount^k r_k, to which training adds discount^n Q(s_n). n is smaller than `steps` where
    the episode ends earlier; its last state is bootstrapped from unless the last step is terminal.

    Returns:
        R (S,) float32, discount^n (S,) float32, 0 after a terminal step, and the frame of s_n (S,) int64.
    """
    size = len(rewards)
    returns = rewards.astype(np.float32)
    discounts: np.ndarray = np.full(size, discount, np.float32)
    # All S transitions grow by one step an iteration. `last` is the latest step of each, `growing` says which
    # have neither terminated nor reached the end of their episode.
    growing = ~terminals
    last: np.ndarray = np.arange(size)
    for _ in range(steps - 1):
        following = np.minimum(last + 1, size - 1)
        # An episode of T steps has T + 1 consecutive frames. The following step belongs to the same episode
        # if it begins with the frame that the last one ends with; between episodes the index skips a frame.
        extends = growing & (following > last) & (frame_index[following] == frame_index[last] + 1)
        returns = np.where(extends, returns + discounts * rewards[following], returns)
        discounts = np.where(extends, discounts * np.float32(discount), discounts)
        last = np.where(extends, following, last)
        growing = ~terminals[last] & extends
    return returns, discounts * ~terminals[last], frame_index[last] + 1


def memory(transitions: Transitions) -> int:
    """Bytes that the transitions take on the device."""
    arrays = [transitions.proprio, transitions.actions, transitions.rewards]
    arrays += [transitions.frame_index, transitions.source]
    arrays += [] if transitions.frames is None else [transitions.frames, *transitions.cameras.values()]
    return sum(array.nbytes for array in arrays) + 4 * len(transitions.terminals)
