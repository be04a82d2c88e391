"""Classify: train a success classifier, choose its threshold, measure it on held-out episodes."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from cog.classifier.config import ClassifierConfig
from cog.classifier.frames import HELD_OUT, TRAINING, VALIDATION, LabelledFrames, read_frames, split
from cog.classifier.network import SuccessNetwork, judge, save
from cog.classifier.sight import Sight
from cog.classifier.verdicts import Verdict, best_threshold, measure
from cog.core.configs import identity
from cog.core.inputs import inputs_to_json
from cog.datasets.storage.folder import new_folder
from cog.errors import CogError, UsageError
from cog.networks.config import NetworkConfig
from cog.networks.images.augment import random_shift
from cog.replay.history import statistics_with

OnProgress = Callable[[int, str], None]
"""Called with the updates done and a note on the loss."""
REPORTS = 100  # progress reports per run


def classify(
    sources: Sequence[Path],
    config: ClassifierConfig,
    on_progress: OnProgress | None = None,
    on_message: Callable[[str], None] | None = None,
) -> list[Verdict]:
    """Train on the datasets in the folders `sources`, write the classifier and return its held-out verdicts.

    Raises:
        UsageError: no source is named, or the labelling rule is invalid.
        CogError: the output folder is not empty or another process fills it, the data cannot be used, or no
            threshold is precise enough; nothing is written.
    """
    if not sources:
        raise UsageError("name at least one dataset that shows the task")
    with new_folder(config.out):
        return _fill(sources, config, on_progress, on_message)


def _fill(
    sources: Sequence[Path],
    config: ClassifierConfig,
    on_progress: OnProgress | None,
    on_message: Callable[[str], None] | None,
) -> list[Verdict]:
    """The same in a folder that is locked already."""
    if config.threads:
        torch.set_num_threads(config.threads)
    frames = read_frames(sources, config, on_message)
    parts = split(frames.successful, config)
    network = train_network(frames, parts[frames.episode] == TRAINING, config, on_progress)
    scores = judge(network, frames.images, frames.proprio, frames.actions, frames.starts)
    threshold = best_threshold(scores, frames, parts == VALIDATION, config.precision, config.tolerance)
    verdicts = {
        name: measure(scores, frames, parts == part, threshold, config.tolerance)
        for name, part in (("validation", VALIDATION), ("held_out", HELD_OUT))
    }
    facts = {
        "inputs": inputs_to_json(frames.inputs),
        "config": identity(config),
        "negatives": len(config.negatives),
        "episodes": {
            name: int((parts == part).sum())
            for name, part in (("training", TRAINING), ("validation", VALIDATION), ("held_out", HELD_OUT))
        },
        "verdicts": {name: [entry.to_json() for entry in entries] for name, entries in verdicts.items()},
    }
    save(config.out, network, threshold, facts)
    return verdicts["held_out"]


def train_network(
    frames: LabelledFrames,
    among: np.ndarray,
    config: ClassifierConfig,
    on_progress: OnProgress | None = None,
) -> SuccessNetwork:
    """A network trained on the frames that `among` (F,) names, in batches of which half are successes.

    Raises:
        CogError: one of the two kinds is missing, or the loss is not finite.
    """
    kinds = [
        torch.from_numpy(np.flatnonzero(among & frames.known & (frames.success == kind)))
        for kind in (True, False)
    ]
    if not all(len(kind) for kind in kinds):
        raise CogError(
            f"the training episodes hold {len(kinds[0])} frames of success and {len(kinds[1])} others; a "
            "classifier needs both",
            remedy="add datasets, or change the rule that labels them",
        )
    proprio = None if frames.proprio is None else torch.from_numpy(frames.proprio)
    with torch.random.fork_rng(devices=[]):  # modules draw from the global generator, which is restored after
        torch.default_generator.manual_seed(config.seed)
        settings = NetworkConfig(
            encoder=config.encoder,
            use_proprio=proprio is not None,
            history=config.history,
            history_of=config.history_of,
        )
        acted = 0 if frames.actions is None else frames.actions.shape[1]
        network = SuccessNetwork(frames.shape.with_history(settings, acted), settings)
    history = network.shape.history
    if proprio is not None:
        scale, mean = torch.std_mean(proprio[torch.from_numpy(among)], 0, correction=0)
        scale = torch.where(scale < 1e-4, 1.0, scale)
        both = (mean, scale) if history is None else statistics_with(history, mean, scale)
        network.encoder.standardise(*both)
    sight = Sight(network.shape, frames.images, frames.proprio, frames.actions, frames.starts)
    optimizer = torch.optim.AdamW(network.parameters(), config.lr, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.updates)
    generator = torch.Generator().manual_seed(config.seed)
    halves = (config.batch_size // 2, config.batch_size - config.batch_size // 2)
    labels = torch.cat([torch.ones(halves[0]), torch.zeros(halves[1])])
    for update in range(1, config.updates + 1):
        drawn = torch.cat(
            [
                kind[torch.randint(len(kind), (size,), generator=generator)]
                for kind, size in zip(kinds, halves, strict=True)
            ]
        )
        images, poses = sight(drawn.numpy())
        scores = network(random_shift(images, config.shift, generator), poses)
        loss = F.binary_cross_entropy_with_logits(scores, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if update % max(config.updates // REPORTS, 1) == 0 or update == config.updates:
            if not torch.isfinite(loss):
                raise CogError(f"the loss is {loss.item()} at update {update}", remedy="choose a smaller lr")
            if on_progress is not None:
                on_progress(update, f"loss {loss.item():.3g}")
    return network.eval()
