"""The commands of `cog`: one frozen dataclass each, its fields the options; work is imported late."""
