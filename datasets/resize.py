"""Stretching of pictures in NumPy alone, bit for bit as OpenCV does it for the data.

A robot's computer needs no OpenCV to see what the policy was trained on.
"""

import numpy as np

COEFFICIENT = 2048  # OpenCV interpolates bytes with weights of 11 bits


def stretched(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """A picture (H, W, C) uint8 as (height, width, C).

    As in the data (`cog.datasets.importers.pictures`): averaged over areas where neither side grows beyond
    the shorter one of the picture, interpolated otherwise.
    """
    if picture.shape[:2] == (height, width):
        return picture
    if max(height, width) <= min(picture.shape[:2]):
        return _averaged(picture, height, width)
    return _interpolated(picture, height, width)


def _averaged(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Each new pixel is the mean of the area that it covers, as cv2.INTER_AREA."""
    rows, columns, channels = picture.shape
    if rows % height == 0 and columns % width == 0:
        tall, wide = rows // height, columns // width
        total = picture.reshape(height, tall, width, wide, channels).sum((1, 3), dtype=np.int64)
        if (tall, wide) == (2, 2):  # OpenCV rounds halves up here, and to even elsewhere
            return ((total + 2) >> 2).astype(np.uint8)
        return np.rint(total.astype(np.float32) * np.float32(1 / (tall * wide))).astype(np.uint8)
    across = _weighted(picture.astype(np.float32), *_areas(columns, width), axis=1)
    return np.clip(np.rint(_weighted(across, *_areas(rows, height), axis=0)), 0, 255).astype(np.uint8)


def _areas(old: int, new: int) -> tuple[np.ndarray, np.ndarray]:
    """The pixels (new, n) that each new one covers, and their weights float32, 0 where it covers fewer."""
    scale = old / new
    covered = []
    for place in range(new):
        begin = place * scale
        end = begin + scale
        cell = min(scale, old - begin)
        last = min(int(np.floor(end)), old - 1)
        first = min(int(np.ceil(begin)), last)
        one = [(first - 1, (first - begin) / cell)] if first - begin > 1e-3 else []
        one += [(whole, 1 / cell) for whole in range(first, last)]
        one += [(last, min(end - last, 1.0, cell) / cell)] if end - last > 1e-3 else []
        covered.append(one)
    most = max(map(len, covered))
    padded = [one + [(0, 0.0)] * (most - len(one)) for one in covered]
    return (
        np.array([[pixel for pixel, _ in one] for one in padded]),
        np.array([[weight for _, weight in one] for one in padded], np.float32),
    )


def _weighted(values: np.ndarray, pixels: np.ndarray, weights: np.ndarray, axis: int) -> np.ndarray:
    """Sums of `values` (H, W, C) along an axis, one pixel after the other, as float32 rounds them."""
    shape = [1, 1, 1]
    shape[axis] = len(pixels)
    total = np.zeros(
        [len(pixels) if at == axis else size for at, size in enumerate(values.shape)], np.float32
    )
    for one in range(pixels.shape[1]):
        total = total + values.take(pixels[:, one], axis) * weights[:, one].reshape(shape)
    return total


def _interpolated(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Each new pixel lies between four old ones, as cv2.INTER_LINEAR of bytes, in whole numbers."""
    left, right, of_left, of_right = _neighbours(picture.shape[1], width, held=True)
    upper, lower, of_upper, of_lower = _neighbours(picture.shape[0], height, held=False)
    values = picture.astype(np.int64)
    across = values[:, left] * of_left[:, None] + values[:, right] * of_right[:, None]
    across >>= 4
    above = across[upper] * of_upper[:, None, None] >> 16
    below = across[lower] * of_lower[:, None, None] >> 16
    return np.clip(above + below + 2 >> 2, 0, 255).astype(np.uint8)


def _neighbours(old: int, new: int, held: bool) -> tuple[np.ndarray, ...]:
    """The two old pixels beside each new one and their whole weights.

    Beyond the border both are the pixel there; with `held` the first then has all the weight.
    """
    place = ((np.arange(new) + 0.5) * (old / new) - 0.5).astype(np.float32)
    first = np.floor(place).astype(np.int64)
    part = (place - first).astype(np.float32)
    if held:
        part[(first < 0) | (first >= old - 1)] = 0
    weights = (
        np.rint(one * np.float32(COEFFICIENT)).astype(np.int64) for one in (np.float32(1) - part, part)
    )
    return np.clip(first, 0, old - 1), np.clip(first + 1, 0, old - 1), *weights
