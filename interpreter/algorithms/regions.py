"""Where an image may hold sources: background subtraction and threshold in one pass, and boxes."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from f2yaml.interpreter.algorithms.jit import kernel as compiled
from f2yaml.interpreter.algorithms.jit import part
from f2yaml.interpreter.algorithms.mesh import Mesh, prepare_row, spline_row
from numpy.typing import NDArray

__all__ = ["FILTER", "MAX_RUNS", "cut", "find_boxes", "median", "relabel", "sample_noise", "sweep"]

#: Kernel of Source Extractor's default.conv, normalised by sep.
FILTER: Final = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], dtype=np.float32)
#: Runs of bright pixels kept; an image with more is a crowd, or its noise is wrong.
MAX_RUNS: Final = 200_000

#: Values of a sample that tells where a median is, how many sigma it may err, and when to sort.
_SAMPLE, _SAMPLE_SIGMA, _SORTED = 1024, 4.0, 2048

_FINITE = np.finfo(np.float32).max
_ROW_STEP, _COLUMN_STEP = 5, 3
#: Pixels are bright from this share of the threshold on: sep rounds otherwise than we do.
_SLACK = 0.999
#: Pixels around a region: the filter reaches one, and what touches the edge of a box counts as cut.
_MARGIN = 4

Boxes = NDArray[np.int64]


@compiled
def _sample(
    data: Any, variance: Any, mask: Any, flags: Any, size: int, level: Any, pulls: Any, sigmas: Any
) -> int:
    """Residual over sigma, and sigma, of a grid of pixels; return their number."""
    ny, nx = data.shape
    work, back = np.empty((3, level[0].shape[1])), np.empty(nx, np.float32)
    n = 0
    for y in range(0, ny, _ROW_STEP):
        prepare_row(level, size, y, work)
        spline_row(work, size, back)
        row, noise = data[y], variance[y]
        bits = mask[y] if mask.size else np.empty(0, np.uint16)
        first = n
        for x in range(0, nx, _COLUMN_STEP):
            v = noise[x]
            sigmas[n], pulls[n] = v, row[x] - back[x]  # written over if they are not usable
            fine = (v > 0.0) & (v <= _FINITE) & (abs(row[x]) <= _FINITE)
            if bits.size:
                fine &= (bits[x] & flags) == 0
            n += 1 if fine else 0
        sigma, pull = sigmas[first:n], pulls[first:n]
        for t in range(n - first):
            sigma[t] = np.sqrt(sigma[t])
            pull[t] /= sigma[t]
    return n


def sample_noise(
    data: NDArray[np.float32],
    variance: NDArray[np.float32],
    mask: NDArray[np.uint16],
    flags: int,
    mesh: Mesh,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return residual over sigma, and sigma, of every third pixel of every fifth row.

    Parameters
    ----------
    data, variance : ndarray of float32, shape (ny, nx), C-contiguous
    mask : ndarray of uint16, shape (ny, nx) or (0, 0)
    flags : int
    mesh : Mesh

    Returns
    -------
    pulls, sigmas : ndarray of float32, shape (n,)
        Of pixels without `flags` whose variance is positive and finite.
    """
    ny, nx = data.shape
    most = -(-ny // _ROW_STEP) * -(-nx // _COLUMN_STEP)
    pulls, sigmas = np.empty(most + 1, np.float32), np.empty(most + 1, np.float32)
    n = _sample(data, variance, mask, np.uint16(flags), mesh.size, mesh.level, pulls, sigmas)
    return pulls[:n], sigmas[:n]


@part
def _subtract_row(row: Any, bits: Any, flags: Any, back: Any, image: Any, bad: Any) -> None:
    nx = row.size
    for t in range(nx):
        bad[t] = 0 if abs(row[t]) <= _FINITE else 1
    if bits.size:
        for t in range(nx):
            bad[t] |= 0 if (bits[t] & flags) == 0 else 1
    for t in range(nx):
        image[t] = row[t] - back[t] if bad[t] == 0 else np.float32(0.0)


@part
def _noise_row(variance: Any, bad: Any, factor: Any, filler: Any, out: Any) -> int:
    """Fill the noise of a row; return how many usable pixels have a variance."""
    known = 0
    for t in range(out.size):
        v = variance[t]
        fine = (v > 0.0) & (v <= _FINITE)
        out[t] = np.sqrt(v) * factor if fine else filler
        known += 1 if fine & (bad[t] == 0) else 0
    return known


@part
def _bright_row(
    image: Any, y: int, bad: Any, noise: Any, limit: Any, sums: Any, bright: Any
) -> None:
    """Mark pixels of row `y` that exceed `limit` times the noise after smoothing by `FILTER`."""
    ny, nx = image.shape
    middle = image[y]
    inner = sums[1 : nx + 1]
    if 0 < y < ny - 1:
        above, row = image[y - 1], image[y + 1]
        for t in range(nx):
            inner[t] = np.float32(2.0) * middle[t] + above[t] + row[t]
    else:
        for t in range(nx):
            inner[t] = np.float32(2.0) * middle[t]
        if ny > 1:
            row = image[1] if y == 0 else image[y - 1]
            for t in range(nx):
                inner[t] += row[t]
    left, right = sums[:nx], sums[2 : nx + 2]
    for t in range(nx):
        smooth = left[t] + np.float32(2.0) * inner[t] + right[t]
        bright[t] = 1 if (smooth > limit * noise[t]) & (bad[t] == 0) else 0


@part
def _list_runs(words: Any, bright: Any, y: int, nx: int, runs: Any, n: int) -> int:
    """Append the runs (y, x0, x1) of marked pixels; return their number, or -1 if they overflow."""
    x = 0
    while x < nx:
        if x % 8 == 0 and words[x // 8] == 0:
            x += 8
            continue
        if bright[x] == 0:
            x += 1
            continue
        start = x
        while x < nx and bright[x] != 0:
            x += 1
        if n >= runs.shape[0]:
            return -1
        runs[n, 0], runs[n, 1], runs[n, 2] = y, start, x
        n += 1
    return n


@compiled
def sweep(
    data: Any, variance: Any, mask: Any, flags: Any, size: int, level: Any, spread: Any,
    scale: Any, threshold: float, image: Any, bad: Any, noise: Any, runs: Any,
) -> tuple[int, int]:  # fmt: skip
    """Subtract the background and list the pixels that may be above the threshold.

    Parameters
    ----------
    data, variance : ndarray of float32, shape (ny, nx)
        `variance` has size 0 where there is none; then `spread` tells the noise.
    mask : ndarray of uint16, shape (ny, nx) or (0, 0)
    flags : uint16
    size : int, pixel
    level, spread : Nodes
    scale : (float32, float32)
        With a variance, the factor of its root, and the noise where it is unknown. Without, the
        second is the least noise.
    threshold : float, sigma of a pixel
    image : ndarray of float32, shape (ny, nx)
        Filled with data less background, 0 on bad pixels.
    bad : ndarray of uint8, shape (ny, nx)
        Filled with 1 on bad pixels, else 0.
    noise : ndarray of float32, shape (ny, nx) or (0, 0)
        Filled if there is room.
    runs : ndarray of int32, shape (n, 3)
        Filled with row, first column and the column after the last.

    Returns
    -------
    int
        Number of runs; -1 if there are more than `runs` holds.
    int
        Usable pixels with a variance that is positive and finite.
    """
    ny, nx = data.shape
    work, back = np.empty((3, level[0].shape[1])), np.empty(nx, np.float32)
    lines = np.empty((2, nx), np.float32)
    sums = np.zeros(nx + 2, np.float32)
    words = np.zeros(nx // 8 + 1, np.uint64)
    bright = words.view(np.uint8)
    limit = np.float32(16.0 * _SLACK * threshold)  # the filter sums to 16
    factor, other = scale
    no_bits = np.empty(0, np.uint16)
    n, known = 0, 0
    for y in range(ny + 1):
        if y < ny:
            prepare_row(level, size, y, work)
            spline_row(work, size, back)
            own = mask[y] if mask.size else no_bits
            _subtract_row(data[y], own, flags, back, image[y], bad[y])
            line = noise[y] if noise.size else lines[y % 2]
            if variance.size:
                known += _noise_row(variance[y], bad[y], factor, other, line)
            else:
                prepare_row(spread, size, y, work)
                spline_row(work, size, line)
                for t in range(nx):
                    line[t] = max(line[t], other)
        if y > 0 and n >= 0:
            line = noise[y - 1] if noise.size else lines[(y - 1) % 2]
            _bright_row(image, y - 1, bad[y - 1], line, limit, sums, bright)
            n = _list_runs(words, bright, y - 1, nx, runs, n)
    return n, known


@part
def _between(values: Any, low: Any, high: Any, out: Any) -> tuple[int, int]:
    """Copy the values from `low` to `high`; return how many are below, and how many these are."""
    below, n = 0, 0
    for t in range(values.size):
        below += 1 if values[t] < low else 0
    for t in range(values.size):
        x = values[t]
        out[n] = x  # written over by the next one if it is not between them
        n += 1 if (x >= low) & (x <= high) else 0
    return below, n


@compiled
def _middle(values: Any, one: Any, two: Any) -> tuple[Any, Any]:
    """The middle two of the values; `one` and `two`, larger by 1, are for its work."""
    # A sample tells between which values they lie; the few between them are sorted.
    n, first = values.size, 0  # of the values left; number of those below
    lower, upper = (n - 1) // 2, n // 2
    part, spare = values, one
    few = np.empty(_SAMPLE, np.float32)
    while n > _SORTED:
        for k in range(_SAMPLE):
            few[k] = part[k * n // _SAMPLE]
        few.sort()
        reach = _SAMPLE_SIGMA * np.sqrt(0.25 * _SAMPLE)
        at = _SAMPLE * (0.5 * (lower + upper) - first) / n
        low = few[int(min(max(at - reach, 0), _SAMPLE - 1))]
        high = few[int(min(max(at + reach, 0), _SAMPLE - 1))]
        below, kept = _between(part, low, high, spare)
        if lower < first + below or upper >= first + below + kept:
            break  # an unlucky sample
        if low == high:
            return low, low
        if 2 * kept > n:
            break
        first += below
        part, n = spare[:kept], kept
        spare = two if spare is one else one
    rest = np.sort(part)
    return rest[lower - first], rest[upper - first]


def median(values: NDArray[np.float32]) -> float:
    """Return the median of finite values; faster than numpy's for many, and without the GIL.

    Parameters
    ----------
    values : ndarray of float32, shape (n,), C-contiguous, n > 0
    """
    one, two = (np.empty(values.size + 1, np.float32) for _ in range(2))
    return float(np.array(_middle(values, one, two), np.float64).mean())


@part
def _root(parents: Any, k: int) -> int:
    while parents[k] != k:
        parents[k] = parents[parents[k]]
        k = parents[k]
    return k


@compiled
def _regions(runs: Any, minarea: int, margin: int, ny: int, nx: int) -> Any:
    """Boxes (y0, y1, x0, x1) with margin of 8-connected regions of at least `minarea` pixels."""
    n = runs.shape[0]
    parents = np.arange(n)
    before, start = 0, 0  # first run of the row above; first run of this row
    for k in range(n):
        if k > 0 and runs[k, 0] != runs[k - 1, 0]:
            before, start = start, k
        j = before
        while j < start:
            if runs[j, 0] == runs[k, 0] - 1:
                if runs[j, 1] > runs[k, 2]:
                    break
                if runs[j, 2] >= runs[k, 1]:
                    parents[_root(parents, k)] = _root(parents, j)
                elif j == before:
                    before += 1
            j += 1
    boxes = np.empty((n, 5), np.int64)
    for k in range(n):
        boxes[k] = (ny, 0, nx, 0, 0)
    for k in range(n):
        box = boxes[_root(parents, k)]
        box[0], box[1] = min(box[0], runs[k, 0]), max(box[1], runs[k, 0] + 1)
        box[2], box[3] = min(box[2], runs[k, 1]), max(box[3], runs[k, 2])
        box[4] += runs[k, 2] - runs[k, 1]
    kept = 0
    for k in range(n):
        if boxes[k, 4] >= minarea:
            y0, y1, x0, x1 = boxes[k, 0], boxes[k, 1], boxes[k, 2], boxes[k, 3]
            boxes[kept, 0], boxes[kept, 1] = max(0, y0 - margin), min(ny, y1 + margin)
            boxes[kept, 2], boxes[kept, 3] = max(0, x0 - margin), min(nx, x1 + margin)
            boxes[kept, 4] = boxes[k, 4]
            kept += 1
    return boxes[:kept]


@compiled
def _merge(boxes: Any) -> Any:
    """Merge boxes that overlap, until none does; return the number left, at the front."""
    n = boxes.shape[0]
    merged = True
    while merged:
        merged = False
        boxes[:n] = boxes[np.argsort(boxes[:n, 0], kind="mergesort")]
        for i in range(n):
            one = boxes[i]
            j = i + 1
            while one[4] and j < n and boxes[j, 0] < one[1]:
                two = boxes[j]
                if two[4] and two[2] < one[3] and one[2] < two[3]:
                    one[0], one[1] = min(one[0], two[0]), max(one[1], two[1])
                    one[2], one[3] = min(one[2], two[2]), max(one[3], two[3])
                    one[4] += two[4]
                    two[4] = 0
                    merged = True
                j += 1
        kept = 0
        for i in range(n):
            if boxes[i, 4]:
                boxes[kept] = boxes[i]
                kept += 1
        n = kept
    return n


def find_boxes(runs: NDArray[np.int32], minarea: int, shape: tuple[int, int]) -> Boxes:
    """Return boxes that hold all regions of connected pixels.

    Parameters
    ----------
    runs : ndarray of int32, shape (n, 3)
        From `sweep`, in order of rows and columns.
    minarea : int, pixel
        Smaller regions are left out. Pixels connect along sides and corners.
    shape : (int, int)

    Returns
    -------
    ndarray of int64, shape (m, 5)
        y0, y1, x0, x1 with a margin, and the number of pixels in the regions. No two overlap.
    """
    boxes = _regions(runs, minarea, _MARGIN, *shape)
    return np.asarray(boxes[: _merge(boxes)])


@compiled
def cut(
    image: Any, bad: Any, variance: Any, noise: Any, scale: Any, box: Any
) -> tuple[Any, Any, Any]:
    """Return image, bad pixels and noise in a box; arguments as of `sweep`."""
    y0, y1, x0, x1 = box[0], box[1], box[2], box[3]
    stamp = image[y0:y1, x0:x1].copy()
    holes = bad[y0:y1, x0:x1].copy()
    if noise.size:
        return stamp, holes, noise[y0:y1, x0:x1].copy()
    sigma = np.empty(stamp.shape, np.float32)
    for j in range(y1 - y0):
        _noise_row(variance[y0 + j][x0:x1], holes[j], scale[0], scale[1], sigma[j])
    return stamp, holes, sigma


@compiled
def relabel(segments: Any, boxes: Any, names: Any, objmask: Any) -> None:
    """Replace the numbers of segments by ``names[number]``, and set `objmask` on them."""
    for b in range(boxes.shape[0]):
        for y in range(boxes[b, 0], boxes[b, 1]):
            for x in range(boxes[b, 2], boxes[b, 3]):
                if segments[y, x]:
                    number = names[segments[y, x]]
                    segments[y, x] = number
                    if number:
                        objmask[y, x] = 1
