"""The maximum mean discrepancy against closed forms and against its definition as a sum over pairs."""

import math

import pytest
import torch

from cog.algorithms.shared.mmd import Kernel, kernel, mmd

BOTH = pytest.mark.parametrize("kind", ["laplacian", "gaussian"])


def samples(count: int, seed: int) -> torch.Tensor:
    """Samples (3, count, 2) of their own for each of 3 states."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(3, count, 2, generator=generator, dtype=torch.float64)


@BOTH
def test_equal_sets_have_the_floor_of_one_thousandth_in_any_order(kind: Kernel) -> None:
    x = samples(5, 0)
    expected = torch.full((3,), 1e-3, dtype=x.dtype)
    torch.testing.assert_close(mmd(x, x, 20.0, kind), expected, rtol=0, atol=1e-9)
    torch.testing.assert_close(mmd(x, x.flip(1), 20.0, kind), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("kind", "distance"), [("laplacian", 1.0), ("gaussian", 0.58)])
def test_two_point_masses_have_twice_one_minus_the_kernel_of_their_distance(
    kind: Kernel, distance: float
) -> None:
    x = torch.zeros(1, 4, 2, dtype=torch.float64)
    y = torch.tensor([0.3, -0.7], dtype=torch.float64).expand(1, 3, 2)  # 0.3 + 0.7, and 0.09 + 0.49
    expected = math.sqrt(2 * (1 - math.exp(-distance / 40)) + 1e-6)
    assert float(mmd(x, y, 20.0, kind)) == pytest.approx(expected, abs=1e-9)


def test_the_threshold_of_bear_is_at_these_distances_of_two_points() -> None:
    x = torch.zeros(1, 1, 1, dtype=torch.float64)
    for kind, distance in (("laplacian", 0.0500), ("gaussian", 0.2237)):
        assert float(mmd(x, x + distance, 20.0, kind)) == pytest.approx(0.05, abs=5e-5)  # type: ignore[arg-type]


@BOTH
def test_it_is_symmetric_and_unchanged_by_order_and_by_a_common_shift(kind: Kernel) -> None:
    x, y = samples(4, 0), samples(6, 1)
    found = mmd(x, y, 0.5, kind)
    assert float(found.min()) > 0.05
    torch.testing.assert_close(mmd(y, x, 0.5, kind), found)
    torch.testing.assert_close(mmd(x.roll(1, 1), y.flip(1), 0.5, kind), found)
    torch.testing.assert_close(mmd(x + 3.0, y + 3.0, 0.5, kind), found)
    assert float((mmd(x + 3.0, y, 0.5, kind) - found).abs().min()) > 1e-3


@BOTH
def test_it_is_the_sum_over_all_pairs_of_samples_with_themselves_included(kind: Kernel) -> None:
    x, y = samples(3, 2), samples(2, 3)

    def one(a: torch.Tensor, b: torch.Tensor) -> float:
        size = sum(abs(p - q) if kind == "laplacian" else (p - q) ** 2 for p, q in zip(a, b, strict=True))
        return math.exp(-float(size) / (2 * 0.7))

    for state in range(3):
        a, b = x[state], y[state]
        total = sum(one(p, q) for p in a for q in a) / 9 + sum(one(p, q) for p in b for q in b) / 4
        total -= 2 * sum(one(p, q) for p in a for q in b) / 6
        assert float(mmd(x, y, 0.7, kind)[state]) == pytest.approx(math.sqrt(total + 1e-6), rel=1e-9)


@BOTH
def test_a_wide_kernel_makes_all_distances_look_small(kind: Kernel) -> None:
    x, y = samples(4, 0), samples(4, 1)
    assert float((1 - kernel(x, y, 1e6, kind)).max()) < 1e-4
    assert float(mmd(x, y, 1e6, kind).max()) < 0.01 < float(mmd(x, y, 1.0, kind).min())
