"""Relabel: a view gives a dataset rewards by a rule; the shards stay as they are.

Read `view` (the file), `rules` (the language, as a table), then how a rule is read: `words` (cut into words),
`expression` (made a tree by Python's parser), `grammar` (each node of it), `operations` (what that computes)
and `terms` (what names mean).
"""

from cog.datasets.relabel.view import (
    STORED,
    View,
    count_ending_in,
    labelled,
    open_view,
    relabel,
    rule_for,
    view_names,
)

__all__ = ["STORED", "View", "count_ending_in", "labelled", "open_view", "relabel", "rule_for", "view_names"]
