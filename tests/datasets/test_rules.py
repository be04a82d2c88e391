"""The language of reward rules: each construct against its closed form, all of them against a plain loop."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cog.datasets.episode import Episode
from cog.datasets.relabel.rules import parse_rule, reads_signals_alone, relocate, runs_own_code
from cog.datasets.relabel.view import labelled, open_view, relabel
from cog.datasets.storage.verify import verify
from cog.errors import CogError, UsageError
from cog.signals import predicates as rewards

HELD = "object_height > 0.1 and object_gripper_distance < 0.06"


def episode(**signals: list[float]) -> Episode:
    """An episode of these signals, one value after each step; what they are before the first misleads."""
    arrays = {name: np.array([1e6, *values], np.float32) for name, values in signals.items()}
    steps = len(next(iter(arrays.values()))) - 1
    return Episode(actions=np.zeros((steps, 2), np.float32), signals=arrays)


def values(rule: str, **signals: list[float]) -> list[float]:
    """What a rule is on each step."""
    return parse_rule(rule, list(signals), Path())(episode(**signals), 0).tolist()


@pytest.mark.parametrize(
    "rule, expected",
    [
        ("h", [0, 2, 3, 0, 1, 5]),
        ("h > 1", [0, 1, 1, 0, 0, 1]),
        ("h >= 1 and h < 5", [0, 1, 1, 0, 1, 0]),
        ("1 <= h < 5", [0, 1, 1, 0, 1, 0]),
        ("not h == 0", [0, 1, 1, 0, 1, 1]),
        ("h != 0 for 2 steps", [0, 0, 1, 0, 0, 1]),
        ("h >= 0 for 3 steps", [0, 0, 1, 1, 1, 1]),
        ("h > 0 for 1 step", [0, 1, 1, 0, 1, 1]),
        ("not h > 0 for 2 steps", [1, 1, 0, 1, 1, 0]),
        ("h > 2 or h < 1 and g > 0", [0, 0, 1, 1, 0, 1]),
        ("(h > 2 or h < 1) and g > 0", [0, 0, 0, 1, 0, 0]),
        ("(h > 0 and g < 1) for 2 steps", [0, 0, 1, 0, 0, 1]),
        ("first(h > 0)", [0, 1, 0, 0, 0, 0]),
        ("first(h > 9)", [0, 0, 0, 0, 0, 0]),
        ("first(h > 0 for 2 steps)", [0, 0, 1, 0, 0, 0]),
        ("2 + h - 0.5 * 2 * h - 1", [1, 1, 1, 1, 1, 1]),
        ("-h + -(-1)", [1, -1, -2, 1, 0, -4]),
        ("0.5 * (h > 2) + (g > 0)", [0, 0, 0.5, 1, 0, 0.5]),
        ("zero", [0, 0, 0, 0, 0, 0]),
        ("1 > 0", [1, 1, 1, 1, 1, 1]),
        ("to_go(h, 0)", [0, 2, 3, 0, 1, 5]),
        ("to_go(h, 1)", [11, 11, 9, 6, 6, 5]),
        ("to_go(first(h > 2), 0.5)", [0.25, 0.5, 1, 0, 0, 0]),
        ("3 * to_go(1e0, .5) > 4", [1, 1, 1, 1, 1, 0]),
        ('"h">1', [0, 1, 1, 0, 0, 1]),
        ("held(h != 0, 2)", [0, 0, 1, 0, 0, 1]),
        ("not held(h > 0, 2)", [1, 1, 0, 1, 1, 0]),
        ("0.5 * held(h > 0, 1)", [0, 0.5, 0.5, 0, 0.5, 0.5]),
        ("first(held(h > 0 and g < 1, 2) or g > 0)", [0, 0, 1, 0, 0, 0]),
        ("held(h >= 0 for 2 steps, 2)", [0, 0, 1, 1, 1, 1]),
        ("h / 2 - h / (1 + 1)", [0, 0, 0, 0, 0, 0]),
        ("1 / 4 / 2 * h", [0, 0.25, 0.375, 0, 0.125, 0.625]),
        ("6 / (1 + g)", [6, 6, 6, 3, 6, 6]),
        ("signal('h') > 1 or signal( \"g\" ) > 0", [0, 1, 1, 1, 0, 1]),
    ],
)
def test_each_construct_is_what_the_table_says(rule, expected):
    assert values(rule, h=[0, 2, 3, 0, 1, 5], g=[0, 0, 0, 1, 0, 0]) == expected


def test_the_return_to_go_of_a_constant_is_the_geometric_sum():
    found = values("to_go(1, 0.97)", h=[0] * 200)
    np.testing.assert_allclose(found, [(1 - 0.97 ** (200 - t)) / 0.03 for t in range(200)], rtol=1e-12)


def test_a_predicate_and_the_rule_that_spells_it_out_agree_to_the_bit():
    """The thresholds lie between two float32 numbers: constants must be rounded as the predicates' are."""
    near = [np.nextafter(np.float32(0.1), np.float32(side)) for side in (0, 1)]
    heights = [near[0], np.float32(0.1), near[1], 0.2, 0.2]
    signals = {"object_height": heights, "object_gripper_distance": [0, 0, 0, 0.0599999, 0.06]}
    spelt = f"object_height > {rewards.GRASP_HEIGHT} and object_gripper_distance < {rewards.GRASP_DISTANCE}"
    assert values(spelt, **signals) == values("grasp_success", **signals) == [0, 0, 1, 1, 0]


def test_quotes_hold_any_name_of_a_signal():
    signals = {"eef pos/2": [0, 1], "first": [1, 0], "über_höhe.2": [3, 3]}
    rule = parse_rule("""'eef pos/2' > 0.5 or "first" > 0 and über_höhe.2 == 3""", list(signals), Path())
    assert rule(episode(**signals), 0).tolist() == [1, 1]


def test_a_signal_may_be_called_like_anything_in_python_or_in_the_language():
    for name in ("lambda", "if", "None", "held", "signal", "function", "classifier", "first"):
        assert values(f"{name} > 1 and {name} * 2 == 6", **{name: [0, 2, 3]}) == [0, 0, 1]
    both = {"grasp_success": [5], "object_height": [0], "object_gripper_distance": [0]}
    assert values("grasp_success + 10 * signal('grasp_success')", **both) == [50]


REWARDS_OF_OLD_SPELLINGS = {
    f"({HELD}) for 2 steps": "b4844a80866eafd9",
    "0.25 * (object_height > 0.1 for 2 steps) - object_gripper_distance": "9359e008fa942e45",
    "first(object_height >= 0.2 or not 'object_height' > .1 for 1 step)": "ee46f621b02b2c10",
    "to_go(grasp_success, 0.5)": "2f818d49332329c9",
}


def test_rules_in_the_old_spelling_give_the_rewards_they_gave_when_there_was_no_other(make_dataset):
    """The hashes are of views that version 0.1.0 wrote before Python's parser read rules."""
    dataset = make_dataset()
    for number, (rule, reward_hash) in enumerate(REWARDS_OF_OLD_SPELLINGS.items()):
        view = relabel(dataset.path, rule, f"view{number}", terminate=False)
        digest = hashlib.blake2b(digest_size=32)
        for one in labelled(dataset, view):  # in 0.1.0 no step of such views was terminal
            digest.update(len(one).to_bytes(8, "little") + one.rewards.tobytes() + bytes(len(one)))
        assert (view.rule, digest.hexdigest()[:16]) == (rule, reward_hash)


def test_both_spellings_of_a_rule_give_the_same_rewards_and_are_two_views(make_dataset):
    dataset = make_dataset()
    old = relabel(dataset.path, "first('object_height' > 0.1 for 2 steps)", "old")
    new = relabel(dataset.path, 'first(held(signal("object_height") > 0.1, 2))', "new")
    assert old.reward_hash == new.reward_hash and old.rewarded_steps > 0
    assert [view.rule for view in (old, new)] == [open_view(dataset, name).rule for name in ("old", "new")]
    assert old.hash() != new.hash() and verify(dataset.path) == []


# --- Against a plain loop --------------------------------------------------------------------------


def _naive_held(truth: list[float], steps: int) -> list[float]:
    return [float(t + 1 >= steps and all(truth[t - steps + 1 : t + 1])) for t in range(len(truth))]


def _naive_returns(numbers: list[float], discount: float) -> list[float]:
    return [
        sum(discount ** (later - now) * numbers[later] for later in range(now, len(numbers)))
        for now in range(len(numbers))
    ]


def _zip(one, other, combine):
    return lambda s: [float(combine(a, b)) for a, b in zip(one(s), other(s), strict=True)]


def _numbers(truths):
    """Strategy of (text, naive function of the signals) pairs that are numbers."""
    leaves = st.sampled_from(
        [
            ("a", lambda s: s["a"]),
            ('signal("b")', lambda s: s["b"]),
            ("b", lambda s: s["b"]),
            ("0.5", lambda s: [0.5] * len(s["a"])),
        ]
    )

    def grow(inner):
        pair = st.tuples(inner, inner)
        return st.one_of(
            pair.map(lambda p: (f"({p[0][0]} + {p[1][0]})", _zip(p[0][1], p[1][1], lambda x, y: x + y))),
            pair.map(lambda p: (f"({p[0][0]} - {p[1][0]})", _zip(p[0][1], p[1][1], lambda x, y: x - y))),
            pair.map(lambda p: (f"{p[0][0]} * {p[1][0]}", _zip(p[0][1], p[1][1], lambda x, y: x * y))),
            inner.map(lambda p: (f"{p[0]} / 4", lambda s: [x / 4 for x in p[1](s)])),
            inner.map(lambda p: (f"-{p[0]}", lambda s: [-x for x in p[1](s)])),
            inner.map(lambda p: (f"to_go({p[0]}, 0.5)", lambda s: _naive_returns(p[1](s), 0.5))),
            truths.map(lambda p: (f"({p[0]})", p[1])),
        )

    return st.recursive(leaves, grow, max_leaves=4)


def _truths():
    """Strategy of (text, naive function) pairs that are true or false."""
    signal = st.sampled_from(["a", "b"])
    leaves = st.tuples(signal, st.sampled_from([">", "<=", "=="]), st.sampled_from([0, 1, 2])).map(
        lambda p: (
            f"{p[0]} {p[1]} {p[2]}",
            lambda s: [float({">": x > p[2], "<=": x <= p[2], "==": x == p[2]}[p[1]]) for x in s[p[0]]],
        )
    )

    def grow(inner):
        pair = st.tuples(inner, inner)
        return st.one_of(
            pair.map(
                lambda p: (f"({p[0][0]}) and ({p[1][0]})", _zip(p[0][1], p[1][1], lambda x, y: x and y))
            ),
            pair.map(lambda p: (f"({p[0][0]}) or ({p[1][0]})", _zip(p[0][1], p[1][1], lambda x, y: x or y))),
            inner.map(lambda p: (f"not ({p[0]})", lambda s: [1.0 - x for x in p[1](s)])),
            st.tuples(
                inner, st.integers(1, 4), st.sampled_from(["({0}) for {1} steps", "held({0}, {1})"])
            ).map(lambda p: (p[2].format(p[0][0], p[1]), lambda s: _naive_held(p[0][1](s), p[1]))),
            inner.map(
                lambda p: (
                    f"first({p[0]})",
                    lambda s: [float(x and not any(p[1](s)[:t])) for t, x in enumerate(p[1](s))],
                )
            ),
        )

    return st.recursive(leaves, grow, max_leaves=5)


SIGNAL = st.lists(st.integers(0, 3), min_size=7, max_size=7)


@settings(max_examples=200, deadline=None)
@given(rule=st.one_of(_truths(), _numbers(_truths())), a=SIGNAL, b=SIGNAL, steps=st.integers(1, 7))
def test_any_rule_is_what_a_loop_over_the_steps_makes_of_it(rule, a, b, steps):
    text, naive = rule
    signals = {"a": [float(x) for x in a[:steps]], "b": [float(x) for x in b[:steps]]}
    np.testing.assert_allclose(values(text, **signals), naive(signals), rtol=1e-5, atol=1e-5)


WORDS = ["a", "b", "0.1", "1e999", "(", ")", ",", ">", "==", "+", "-", "*", "/", "and", "or", "not", "for"]
WORDS += ["3", "steps", "first", "to_go", "held", "signal", "'a'", '"', "?", "a:", "_", "classifier:x"]
WORDS += [
    "\n",
    "for 2 steps",
    "held(",
    "signal('b')",
    "function('x:y')",
    "lambda",
    "=",
    "for 0 steps",
    "x:y",
    "None",
]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=12))
def test_any_text_is_a_rule_or_a_clear_error(words):
    text = " ".join(words)
    try:
        parse_rule(text, ["a", "b"], Path())
    except CogError as error:
        assert "reward rule" in str(error) or "classifier" in str(error)


# --- Errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rule, message",
    [
        ("", r"rule '' at character 1: expected a name, a number or '\(', found the end"),
        ("h >", r"at character 4: expected a name, a number or '\(', found the end"),
        ("h > 1 g", "at character 7: expected an operator or the end, found 'g'"),
        ("h > height", "at character 5: 'height' is unknown. Use one of: .*zero, h, g, or your own as mod"),
        ("  h > 1 and 'k' > 2", "at character 13: 'k' is unknown. Use one of: h, g$"),
        ('h > 1 and signal("k") > 2', "at character 11: 'k' is unknown. Use one of: h, g$"),
        ("signal(h) > 2", r"at character 1: 'signal\(h\)' is not in the language .* signal\(\"...\"\)"),
        ("h and g > 1", "at character 1: this is a number, not true or false. Compare it, as in"),
        ("g > 1 and h", "at character 11: this is a number"),
        ("not h", "at character 5: this is a number"),
        ("first(h)", "at character 7: this is a number"),
        ("held(h, 2)", "at character 6: this is a number"),
        ("h for 3 steps", "at character 1: this is a number"),
        ("h > 1 for 0 steps", "at character 7: expected a number of steps from 1 on, found 'for 0 steps'"),
        ("held(h > 1, 0)", "at character 13: expected a number of steps from 1 on, found '0'"),
        ("held(h > 1, 2 + 1)", "at character 13: expected a number of steps from 1 on"),
        ("held(h > 1)", r"at character 11: expected the arguments of held\(X, 3\), found '\)'"),
        ("h > 1 for 2.5 steps", "at character 7: expected 'for N steps', as in .*, found 'for'"),
        ("h > 1 for 2", "at character 7: expected 'for N steps', as in"),
        ("h > 1 for 2 steps > 0", "at character 19: expected 'and', 'or' or the end, found '>'"),
        ("h > 1 for 2 steps for 3 steps", "at character 19: expected 'and', 'or' or the end, found 'for 3"),
        ("g > for 2 steps", "at character 5: expected a name, a number or"),
        ("(for 2 steps)", "at character 2: expected a name, a number or"),
        ("to_go(h)", r"at character 8: expected the arguments of to_go\(grasp_success, 0.99\), found '\)'"),
        ("to_go(h, 1.5)", "at character 10: expected a discount from 0 to 1, found '1.5'"),
        ("to_go(h, g)", "at character 10: expected a discount from 0 to 1, found 'g'"),
        ("(h > 1", r"at character 7: expected an operator or '\)', found the end"),
        ("h) + (g", r"at character 2: expected an operator or the end, found '\)'"),
        ("first h", r"at character 7: expected '\(', as in first\(X\), found 'h'"),
        ("h > 0,5", "at character 5: '0,5' is no number. Write 0.5$"),
        ("(h > 12,5) and g > 1", "at character 6: '12,5' is no number. Write 12.5"),
        ("first(h > 0,5e-1)", "at character 11: '0,5e-1' is no number. Write 0.5e-1"),
        ("held(h > 0,5, 3)", "at character 10: '0,5' is no number. Write 0.5"),
        ("to_go(h, 0,99)", "at character 10: '0,99' is no number. Write 0.99"),
        ("h > 0, 5", "'h > 0, 5' is not in the language of rules"),
        ("h & g", "at character 3: '&' has no meaning here. Use and"),
        ("h = 1", "at character 3: '=' has no meaning here. Use =="),
        ("'h > 1", "at character 1: \"'\" has no meaning here. Use a closing '"),
        ("h > 1e999", "at character 5: 1e999 is not finite. Use a smaller number"),
        ("h.__class__ > 1", "'h.__class__' is unknown"),
        ("h > and", "at character 5: expected a name"),
        ("h > not g", "at character 5: expected a name"),
        ("+h", r"at character 1: '\+h' is not in the language of rules"),
        ("h > (h, g)", r"at character 5: '\(h, g\)' is not in the language of rules"),
        ("g > 0 and h (g)", r"at character 11: 'h \(g\)' is not in the language of rules"),
        ("held(*h)", r"at character 8: expected the arguments of held"),
        ("h if h else g", "at character 3: expected an operator or the end, found 'if'"),
        ("h ** 2", "at character 4: expected a name, a number or"),
        ("lambda: h", "at character 7: ':' has no meaning here"),
        ("(" * 30 + "h" + ")" * 30, "at character 27: more than 25 levels .* function of your own"),
        ("-" * 900 + "h", "at character 26: more than 25 levels"),
        ("not " * 240 + "h > 1", "at character 101: more than 25 levels"),
        ("h > 0 and " * 90 + "h h", "at character 903: expected an operator"),
        ("not " * 5000 + "h > 1", "may have 1000 characters, this one has 20005"),
        ("absent_module:f and h > 1", "'absent_module:f' cannot be imported"),
        ("function('absent_module:f')", "'absent_module:f' cannot be imported"),
    ],
)
def test_an_error_names_the_rule_the_place_and_what_is_known(rule, message):
    with pytest.raises(UsageError, match=message):
        parse_rule(rule, ["h", "g"], Path())


def test_a_held_condition_may_be_written_without_a_blank_after_its_comma():
    assert values("held(h > 0,2)", h=[1, 1, 1]) == [0, 1, 1]


def test_the_longest_rules_of_each_kind_are_computed():
    for word in ("+", "-", "*"):
        assert len(values(f" {word} ".join(["h"] * 250), h=[1, 1])) == 2
    for word in ("and", "or"):
        assert values(f" {word} ".join(["h>0"] * 120), h=[1, 0]) == [1, 0]
    assert values("h" + ">=h" * 300, h=[1, 0]) == [1, 1]
    assert values("(" * 25 + "h" + ")" * 25, h=[1, 2]) == [1, 2]
    assert values("-" * 25 + "h", h=[1, 2]) == [-1, -2]
    level = "h<0 or h>0 and not 0<h+1*("  # an operator of each kind within every parenthesis
    assert values(level * 25 + "h" + ")" * 25, h=[1, 0]) == [0, 0]


def test_a_division_by_zero_is_refused_even_where_a_comparison_would_hide_it():
    rule = parse_rule("h / (g - 1) < 1 or h > 0", ["h", "g"], Path())
    with pytest.raises(CogError, match=r"episode 3: 'g - 1' is 0 at step 1, so nothing can be divided"):
        rule(episode(h=[1, 0], g=[0, 1]), 3)
    with pytest.raises(CogError, match=r"episode 0: '0' is 0 at step 0"):
        values("1 / 0", h=[1])


def test_a_value_that_overflows_is_refused_with_its_step():
    with pytest.raises(CogError, match="rule 'h \\* h', episode 7: it is inf at step 1"):
        parse_rule("h * h", ["h"], Path())(episode(h=[1.0, 1e30]), 7)


def twice(episode):
    """A user's rule."""
    return np.arange(len(episode)) * 2.0


def broken(episode):
    """A user's rule that is not finite; hidden in a comparison, it would be false."""
    return np.where(np.arange(len(episode)) == 1, np.nan, 0.0)


def test_users_functions_are_terms_and_blamed_by_name():
    rule = "tests.datasets.test_rules:twice > 2 and h > 0"
    assert values(rule, h=[1, 1, 1, 0]) == [0, 0, 1, 0]
    with pytest.raises(
        CogError, match=r"rule 'tests.datasets.test_rules:broken > 1', .*_rules:broken' returned nan at"
    ):
        values("tests.datasets.test_rules:broken > 1", h=[1, 1])
    with pytest.raises(UsageError, match="this is a number"):
        values("tests.datasets.test_rules:twice and h > 1", h=[1, 1])
    called = 'function("tests.datasets.test_rules:twice")/2 > 1 and h > 0'
    assert values(called, h=[1, 1, 1, 1]) == [0, 0, 1, 1]
    assert runs_own_code(rule) and runs_own_code(called) and runs_own_code("h > function ( 'm:f' )")
    assert not runs_own_code("h > 0 or classifier:../judge or classifier('m:f') or 'm:f' > signal('m:f')")
    assert reads_signals_alone("first(h > 0) or 'm:f' > signal('m:f') for 2 steps")
    for other in (rule, called, "h > 0 and classifier:judge", "held(classifier('judge'), 2)"):
        assert not reads_signals_alone(other)


@pytest.mark.parametrize(
    "rule, moved",
    [
        ("classifier:judge and h > 0", "classifier:../judge and h > 0"),
        ("h > 0 or classifier:'my judge'", 'h > 0 or classifier:"../my judge"'),
        ("classifier:'\"so called\"'", "classifier:'../\"so called\"'"),
        ("classifier( 'judge' )  and h > 0", 'classifier("../judge")  and h > 0'),
        ("first(classifier('my judge'))", 'first(classifier("../my judge"))'),
        ('signal("classifier:judge") > 0 for 2 steps', 'signal("classifier:judge") > 0 for 2 steps'),
    ],
)
def test_folders_in_a_rule_are_named_from_where_the_view_lies_and_nothing_else_changes(rule, moved, tmp_path):
    assert relocate(rule, tmp_path, tmp_path / "data") == moved


def test_a_folder_with_both_quotation_marks_cannot_be_named_from_elsewhere(tmp_path):
    with pytest.raises(UsageError, match="it has both"):
        relocate("classifier:'\"'", tmp_path / "it's", tmp_path)


# --- Views by rules --------------------------------------------------------------------------------
