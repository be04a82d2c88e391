"""The replay of online fine-tuning: the offline buffer, the online episodes, and mixed batches."""

from collections.abc import Sequence
from typing import Any

import torch

from cog.datasets.episode import Episode
from cog.networks.encoder import Images, by_camera
from cog.online.config import Mix
from cog.replay.buffer import Batch, Buffer


class Replay:
    """Grows by whole episodes; a batch holds online steps first, then offline ones.

    Offline steps are drawn by their buffer, online steps uniformly. Batches mark what may be imitated:
    offline steps and steps of online successes, but not the policy's own failures.
    """

    def __init__(
        self, offline: Buffer, mix: Mix, batch_size: int, span: int, cameras: Sequence[str] = ()
    ) -> None:
        """Start without online episodes; their transitions will span `span` steps and show `cameras`, or all.

        Raises:
            UsageError: the offline half of a batch would leave out a source of the offline data.
        """
        if mix == "half":
            offline.refuse_starved(
                batch_size - _half(batch_size),
                "the offline half of a batch must be at least {size}: continue from a policy trained with "
                "twice that batch size, or choose --mix uniform",
            )
        self.offline = offline
        self.mix = mix
        self.batch_size = batch_size
        self.span = span
        self.cameras = cameras
        self.online: Buffer | None = None
        self.episodes: list[Episode] = []
        self.names = [*offline.names, "online"]
        self.drawn = torch.zeros(len(self.names), dtype=torch.int64, device=offline.device)
        offline.drawn = self.drawn[:-1]  # a view: the offline buffer counts its own draws

    def extend(self, episodes: Sequence[Episode]) -> None:
        """Add episodes that hold rewards and terminals."""
        from cog.datasets.transitions import from_episodes

        self.episodes += episodes
        offline = self.offline
        # Rebuilt from all episodes, which takes a hundredth of the time of a round's updates.
        self.online = Buffer(
            from_episodes(self.episodes, "online").seeing(self.cameras),
            offline.device,
            self.batch_size,
            "uniform",
            offline.discount,
            self.span,
            network=offline.network,
        )
        succeeded = [float(episode.success) for episode in self.episodes for _ in range(len(episode))]
        self.imitable = torch.tensor(succeeded, device=offline.device)

    @property
    def steps(self) -> int:
        """Number of online steps."""
        return 0 if self.online is None else len(self.online.actions)

    def online_rows(self) -> int:
        """Number of online steps in each batch; at least one once there are any."""
        if self.online is None:
            return 0
        if self.mix == "online":
            return self.batch_size
        if self.mix == "half":
            return _half(self.batch_size)
        share = self.steps / (self.steps + len(self.offline.actions))
        return max(1, round(share * self.batch_size))

    def sample(self, generator: torch.Generator) -> Batch:
        """Draw one batch with replacement."""
        rows = self.online_rows()
        parts = []
        if self.online is not None:
            index = torch.randint(self.steps, (rows,), generator=generator, device=self.online.device)
            parts.append(self.online.gather(index)._replace(imitated=self.imitable[index]))
            self.drawn[-1] += rows
        if rows < self.batch_size:
            batch = self.offline.sample(generator, self.batch_size - rows)
            parts.append(batch._replace(imitated=torch.ones_like(batch.rewards)))
        return Batch._make(_joined(fields) for fields in zip(*parts, strict=True))

    def shares(self) -> dict[str, float]:
        """Realised share of each source over all batches so far."""
        drawn = self.drawn.tolist()
        return {name: count / max(sum(drawn), 1) for name, count in zip(self.names, drawn, strict=True)}


def _half(size: int) -> int:
    """Number of online steps in a batch of `size`, if half of them are."""
    return max(1, round(0.5 * size))


def _joined(fields: Sequence[Images | None]) -> Any:
    """One field of several batches, as one; images keep their memory order."""
    present = [field for field in fields if field is not None]
    if not present:
        return None
    if isinstance(present[0], tuple):
        return tuple(torch.cat(camera) for camera in zip(*present, strict=True))
    return torch.cat([by_camera(field)[0] for field in present])
