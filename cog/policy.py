"""The import name under which scripts know the policy: `cog.policy.Policy`."""

from cog.evaluation.policy import Policy

__all__ = ["Policy"]
