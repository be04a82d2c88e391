"""cog: connect a new skill to past experience with offline reinforcement learning.

The names in `__all__` are what notebooks and scripts need, from collecting data to a trained policy; each is
imported at its first use, so that `import cog` loads neither torch nor PyBullet.
"""

import importlib
from typing import TYPE_CHECKING, Any

from cog import version
from cog.errors import CogError, UsageError

if TYPE_CHECKING:
    from cog.classifier.config import ClassifierConfig
    from cog.classifier.fit import classify
    from cog.datasets.action_scale import ActionScale
    from cog.datasets.collection.collect import collect
    from cog.datasets.collection.spec import BehaviourChoice, CollectionSpec
    from cog.datasets.merge import open_merge
    from cog.datasets.merge import write_merge as merge
    from cog.datasets.relabel.view import open_view, relabel
    from cog.datasets.robot_interface import RobotInterface
    from cog.datasets.storage.dataset import open_dataset
    from cog.datasets.storage.verify import verify
    from cog.datasets.writer import DatasetWriter
    from cog.envs.make import Scene, make_environment
    from cog.evaluation.config import EvaluateConfig
    from cog.evaluation.evaluate import evaluate
    from cog.evaluation.policy import Policy
    from cog.evaluation.result import open_evaluation
    from cog.networks.config import NetworkConfig
    from cog.online.config import FinetuneConfig
    from cog.online.finetune import finetune
    from cog.training.config import TrainConfig
    from cog.training.presets import preset
    from cog.training.train import train

__all__ = [
    "ActionScale",
    "BehaviourChoice",
    "ClassifierConfig",
    "CogError",
    "CollectionSpec",
    "DatasetWriter",
    "EvaluateConfig",
    "FinetuneConfig",
    "NetworkConfig",
    "Policy",
    "RobotInterface",
    "Scene",
    "TrainConfig",
    "UsageError",
    "__version__",
    "classify",
    "collect",
    "evaluate",
    "finetune",
    "make_environment",
    "merge",
    "open_dataset",
    "open_evaluation",
    "open_merge",
    "open_view",
    "preset",
    "relabel",
    "train",
    "verify",
]

__version__ = version.VERSION

_HOMES = {
    "ActionScale": "cog.datasets.action_scale",
    "BehaviourChoice": "cog.datasets.collection.spec",
    "ClassifierConfig": "cog.classifier.config",
    "CollectionSpec": "cog.datasets.collection.spec",
    "DatasetWriter": "cog.datasets.writer",
    "EvaluateConfig": "cog.evaluation.config",
    "FinetuneConfig": "cog.online.config",
    "NetworkConfig": "cog.networks.config",
    "Policy": "cog.evaluation.policy",
    "RobotInterface": "cog.datasets.robot_interface",
    "Scene": "cog.envs.make",
    "TrainConfig": "cog.training.config",
    "classify": "cog.classifier.fit",
    "collect": "cog.datasets.collection.collect",
    "evaluate": "cog.evaluation.evaluate",
    "finetune": "cog.online.finetune",
    "make_environment": "cog.envs.make",
    "merge": "cog.datasets.merge:write_merge",
    "open_dataset": "cog.datasets.storage.dataset",
    "open_evaluation": "cog.evaluation.result",
    "open_merge": "cog.datasets.merge",
    "open_view": "cog.datasets.relabel.view",
    "preset": "cog.training.presets",
    "relabel": "cog.datasets.relabel.view",
    "train": "cog.training.train",
    "verify": "cog.datasets.storage.verify",
}
"""Where each name is defined, as MODULE or, under another name there, MODULE:NAME."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'cog' has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    value = globals()[name] = getattr(importlib.import_module(module), attribute or name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
