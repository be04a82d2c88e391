"""cog: connect a new skill to past experience with offline reinforcement learning."""

from cog import version

__version__ = version.VERSION

__all__ = ["__version__"]
