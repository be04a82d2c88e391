"""An exported policy: only what is needed to act, in two small files to copy to a robot.

FOLDER/
  policy.safetensors    weights of encoder and actor
  policy.json           algorithm and networks with their settings, shapes, what the robot must know (see
                        `cog.datasets.robot_interface`), hash of the weights; sealed
"""

from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load, save

from cog.algorithms import algorithm
from cog.algorithms.shared.config import AlgorithmConfig
from cog.core.configs import from_json, to_json
from cog.core.files import hash_file, read_remedy, write_bytes
from cog.core.sealed import read_sealed, write_sealed
from cog.datasets.robot_interface import KEY, RobotInterface
from cog.datasets.storage.folder import new_folder
from cog.errors import CogError
from cog.networks.actor import PolicyNetwork
from cog.networks.config import NetworkConfig
from cog.networks.encoder import ObservationShape
from cog.training.weights import fill

WEIGHTS, CARD = "policy.safetensors", "policy.json"
REMEDY = "export the policy again"


class Exported(NamedTuple):
    """Content of the two files."""

    network: PolicyNetwork
    algorithm: AlgorithmConfig
    shape: ObservationShape
    actions: int
    settings: NetworkConfig
    update: int
    interface: RobotInterface | None = None


def is_exported(path: Path) -> bool:
    """Whether a folder holds an exported policy."""
    return (path / CARD).is_file()


def write_exported(folder: Path, policy: Exported) -> None:
    """Write both files, the card last.

    Raises:
        CogError: the folder holds something already or cannot be written, or another process fills it.
    """
    with new_folder(folder):
        _fill(folder, policy)


def _fill(folder: Path, policy: Exported) -> None:
    """The same in a folder that is locked already."""
    tensors = {name: value.cpu().contiguous() for name, value in policy.network.state_dict().items()}
    write_bytes(folder / WEIGHTS, save(tensors))
    card = {
        "algorithm": to_json(policy.algorithm),
        **policy.shape.to_json(),
        "actions": policy.actions,
        "network": to_json(policy.settings),
        "update": policy.update,
        "hash": hash_file(folder / WEIGHTS),
        KEY: None if policy.interface is None else policy.interface.to_json(),
    }
    write_sealed(folder / CARD, "policy", card)


def read_exported(folder: Path) -> Exported:
    """The policy in a folder.

    Raises:
        CogError: a file is missing or damaged, or its weights do not fit or are not finite.
    """
    card = read_sealed(folder / CARD, "policy", "an exported policy", REMEDY)
    file = folder / WEIGHTS
    try:
        damaged = hash_file(file) != card["hash"]
        tensors = load(file.read_bytes())
    except (OSError, SafetensorError) as error:
        raise CogError(f"cannot be read ({error})", where=file, remedy=read_remedy(error, REMEDY)) from error
    if damaged:
        raise CogError("does not match its hash; it is damaged", where=file, remedy=REMEDY)
    shape = ObservationShape.from_json(card)
    settings: NetworkConfig = from_json(card["network"], NetworkConfig, f"{folder / CARD}: network")
    named = card["algorithm"]
    if isinstance(named, str):  # as versions before its settings were written have it
        named = {"name": named}
    config: AlgorithmConfig = from_json(named, AlgorithmConfig, f"{folder / CARD}: algorithm")
    network = algorithm(config.name).build_policy(shape, card["actions"], settings, config)
    fill(network, tensors, file, REMEDY)
    held = card.get(KEY)
    interface = None if held is None else RobotInterface.from_json(held)
    return Exported(network, config, shape, card["actions"], settings, card["update"], interface)
