"""Pictures in any form come back as the bytes that they were made from, or are refused by name."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from cog.datasets.importers.pictures import sort_observations
from cog.errors import UsageError
from cog.signals.pictures import Conversion, Declared, UnfitError, check_picture, judge

FLOATS, INTEGERS = ("float16", "float32", "float64"), ("int32", "int64", "uint32", "uint64")
LAYOUTS = ("last", "first")

WAYS = ("divide", "multiply", "cast")

sizes = st.integers(5, 9)
planes = st.tuples(st.integers(1, 3), sizes, sizes).flatmap(lambda shape: arrays.arrays(np.uint8, shape))
shapes = st.tuples(st.integers(1, 3), sizes, sizes, st.just(3))
colours = shapes.flatmap(lambda shape: arrays.arrays(np.uint8, shape))


def laid_out(pictures, layout):
    return np.moveaxis(pictures, -1, 1) if layout == "first" else pictures


def as_units(pictures, kind, way):
    """Bytes as numbers in [0, 1], by the ways in which programs compute them."""
    kind = np.dtype(kind).type
    if way == "divide":
        return pictures.astype(kind) / kind(255)
    if way == "multiply":
        return pictures.astype(kind) * kind(1 / 255)
    return (pictures / 255).astype(kind)


def refused(pictures, *words, declared=None):
    with pytest.raises(UnfitError) as error:
        Conversion(declared or Declared())(pictures)
    for word in words:
        assert word in " ".join(error.value.args), error.value.args


@settings(max_examples=100, deadline=None)
@given(colours, st.sampled_from(LAYOUTS))
def test_bytes_come_back_from_either_layout(truth, layout):
    conversion = Conversion()
    found = conversion(laid_out(truth, layout))
    np.testing.assert_array_equal(found, truth, strict=True)
    assert bool(conversion.rules) == (layout == "first")
    verdict = judge(truth.dtype, laid_out(truth, layout).shape[1:])
    assert verdict.standing == ("picture" if layout == "last" else "convertible")


@settings(max_examples=200, deadline=None)
@given(
    colours,
    st.sampled_from(LAYOUTS),
    st.sampled_from(FLOATS),
    st.sampled_from(WAYS),
)
def test_floats_that_are_bytes_over_255_come_back_and_say_so(truth, layout, kind, way):
    truth[0, 0, 0, 0] = 100  # bytes of 0 and 255 alone might be a mask's 0 and 1
    conversion = Conversion()
    found = conversion(laid_out(as_units(truth, kind, way), layout))
    np.testing.assert_array_equal(found, truth, strict=True)
    assert any("multiplied by 255" in rule for rule in conversion.rules)


@settings(max_examples=100, deadline=None)
@given(colours, st.sampled_from(LAYOUTS), st.sampled_from(FLOATS + INTEGERS))
def test_whole_numbers_of_other_types_come_back_and_say_so(truth, layout, kind):
    truth[0, 0, 0, 0] = 100
    conversion = Conversion()
    found = conversion(laid_out(truth, layout).astype(kind))
    np.testing.assert_array_equal(found, truth, strict=True)
    assert any("whole numbers" in rule for rule in conversion.rules)


@settings(max_examples=50, deadline=None)
@given(planes, st.data())
def test_a_plane_of_bytes_is_repeated_where_it_is_asked_for(plane, data):
    given_as = data.draw(st.sampled_from([plane, plane[..., None], plane[:, None]]))
    assert judge(given_as.dtype, given_as.shape[1:]).standing == "asked"
    np.testing.assert_array_equal(Conversion()(given_as), np.stack([plane] * 3, axis=-1), strict=True)


@settings(max_examples=50, deadline=None)
@given(colours, st.sampled_from(LAYOUTS), st.integers(0, 255))
def test_a_fourth_channel_is_left_out_only_where_it_is_opaque(truth, layout, alpha):
    pictures = np.concatenate([truth, np.full((*truth.shape[:3], 1), 255, np.uint8)], axis=-1)
    np.testing.assert_array_equal(Conversion()(laid_out(pictures, layout)), truth, strict=True)
    pictures[-1, -1, -1, 3] = alpha
    if alpha != 255:
        refused(laid_out(pictures, layout), "must be opaque", "fourth channel")


@settings(max_examples=100, deadline=None)
@given(shapes, st.sampled_from(FLOATS), st.floats(-2, 300, width=16), st.data())
def test_any_other_number_is_refused_and_never_cast(shape, kind, odd, data):
    levels = odd * 255 if 0 <= odd <= 1 else odd
    if abs(levels - round(levels)) < 0.3 and 0 <= levels <= 255:
        odd = 0.4 / 255  # not a level by either reading
    pictures = np.full(shape, 100.0 if odd > 1 else 100 / 255).astype(kind)
    place = data.draw(st.tuples(*(st.integers(0, size - 1) for size in shape)))
    pictures[place] = odd
    refused(pictures, kind, "as uint8")


@settings(max_examples=100, deadline=None)
@given(
    st.tuples(st.integers(1, 3), sizes, sizes),
    st.sampled_from(("bool", "uint16", "int16", "int32", "float16", "float32", "float64")),
    st.sampled_from((None, "last", "first")),
)
def test_planes_of_depth_classes_and_flags_are_refused_by_name(shape, kind, layout):
    plane = np.ones(shape, kind)
    plane = {None: plane, "last": plane[..., None], "first": plane[:, None]}[layout]
    assert judge(plane.dtype, plane.shape[1:]).standing == "unfit"
    refused(plane, kind, "a mask")


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 9), st.sampled_from(("uint8", "uint16", "int8", "float32")), st.sampled_from(LAYOUTS))
def test_what_is_declared_depth_is_refused_whatever_its_shape(channels, kind, layout):
    pictures = laid_out(np.ones((2, 10, 12, channels), kind), layout)
    refused(pictures, "depth", declared=Declared(meaning="depth"))


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 12).filter(lambda count: count not in (1, 3, 4)), st.sampled_from(("uint8", "float32")))
def test_other_numbers_of_channels_are_refused_with_their_number(channels, kind):
    refused(np.ones((2, 14, 15, channels), kind), f"{channels} channels of {kind} (14x15x{channels})")


@pytest.mark.parametrize("kind", ["uint16", "int16", "int8"])
def test_sixteen_bits_are_refused_even_where_the_values_would_fit(kind):
    refused(np.ones((2, 8, 8, 3), kind), kind, "scale and round")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.nan, "must be finite"),
        (-1.0, "from -1"),
        (256.0, "to 256"),
        (1.0, "1 or 255 is white"),
        (0.5, "values"),
    ],
)
def test_doubtful_floats_are_refused_with_what_was_found(value, words):
    refused(np.full((1, 8, 8, 3), value), words)


def test_one_camera_keeps_one_reading_in_all_episodes():
    conversion, black = Conversion(), np.zeros((1, 8, 8, 3))
    np.testing.assert_array_equal(conversion(black), black.astype(np.uint8))
    assert conversion.rules == ()
    conversion(np.full((1, 8, 8, 3), 100.0))
    np.testing.assert_array_equal(conversion(black + 1), np.ones((1, 8, 8, 3), np.uint8))
    with pytest.raises(UnfitError, match="fractions"):
        conversion(np.full((1, 8, 8, 3), 51 / 255))


@pytest.mark.parametrize(("high", "white"), [(1.0, 255), (255.0, 1)])
def test_a_declared_bound_settles_what_values_leave_open(high, white):
    found = Conversion(Declared(high=high))(np.ones((1, 8, 8, 3), np.float32))
    np.testing.assert_array_equal(found, np.full((1, 8, 8, 3), white, np.uint8))


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(("uint8", *FLOATS, *INTEGERS, "bool")), st.lists(st.integers(1, 9), max_size=5).map(tuple)
)
def test_a_finished_picture_has_one_form_alone(kind, shape):
    right = kind == "uint8" and len(shape) == 3 and shape[2] == 3
    try:
        check_picture(np.dtype(kind), shape)
    except UnfitError:
        assert not right
    else:
        assert right


def test_observations_are_sorted_by_what_they_are_and_named(tmp_path):
    jpeg = np.frombuffer(b"\xff\xd8\xff\xe0" + bytes(60), np.uint8)
    kinds = {
        "camera": ("uint8", (5, 8, 8, 3)),
        "first": ("uint8", (5, 3, 8, 8)),
        "grey": ("uint8", (5, 8, 8)),
        "depth": ("float32", (5, 8, 8, 1)),
        "pose": ("float64", (5, 7)),
        "bytes": ("uint8", (5, 64)),
        "level": ("int64", (5,)),
        "text": ("object", (5,)),
    }
    found = sort_observations(
        {key: (np.dtype(kind), shape) for key, (kind, shape) in kinds.items()}, first_row=lambda key: jpeg
    )
    assert found.images(tmp_path, ()) == ["camera"]
    assert found.images(tmp_path, ("first",)) == ["camera", "first"]
    assert found.images(tmp_path, ("grey",)) == ["camera", "grey"]
    assert found.vectors == ("pose",) and found.numbers == ("level",)
    assert found.others == ("text",)
    for key, words in {"depth": "1 channel of float32", "bytes": "one JPEG file a step"}.items():
        with pytest.raises(UsageError, match=words):
            found.images(tmp_path, (key,))
    notes = found.notes(["camera"])
    assert [note.split()[0] for note in notes] == ["grey", "depth", "bytes"] and "--image" in notes[0]
