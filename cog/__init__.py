"""cog: connect a new skill to past experience with offline reinforcement learning."""

from cog.version import VERSION as __version__

__all__ = ["__version__"]
