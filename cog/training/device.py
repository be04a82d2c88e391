"""Device: where PyTorch computes, by name."""

import torch

from cog.errors import CogError, UsageError


def named_device(name: str) -> torch.device:
    """The device called `name`: "cpu", "cuda" or "cuda:NUMBER"; a numbered one becomes the current one.

    Raises:
        UsageError: there is no device of this kind.
        CogError: this machine does not have it.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"device is '{name}'; it must be cpu, cuda or cuda:NUMBER")
    if device.type == "cuda":
        found = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= found:
            raise CogError(
                f"device is '{device}', but PyTorch finds {found} CUDA devices", remedy="use --device cpu"
            )
        if device.index is not None:
            torch.cuda.set_device(device)  # graphs and streams are made on the current one
    return device
