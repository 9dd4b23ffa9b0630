"""From an image to the list of its detections: background, threshold, and sep on small boxes."""

from __future__ import annotations

from threading import Lock, local
from typing import Any, Final

import numpy as np
import sep
from f2yaml.interpreter.algorithms.cleaning import surviving
from f2yaml.interpreter.algorithms.measure import Field
from f2yaml.interpreter.algorithms.mesh import Mesh
from f2yaml.interpreter.algorithms.regions import (
    FILTER,
    MAX_RUNS,
    cut,
    find_boxes,
    median,
    relabel,
    sample_noise,
    sweep,
)
from numpy.typing import NDArray

__all__ = ["Buffers", "Search", "borrow", "give_back", "release_buffers"]

Image = NDArray[np.float32]
Shape = tuple[int, int]

_SIGMA_OF_MAD: Final = 1.4826
#: Share of the image in boxes from which it is searched as a whole.
_CROWDED: Final = 1.0 / 3.0
#: Part of the noise of the image below which no cell of a border is trusted to be quiet.
_QUIET: Final = np.float32(0.7)
_NOTHING: Final = np.empty((0, 0), np.float32)
_PLACES: Final = (
    (0, ("y", "ymin", "ymax", "ypeak", "ycpeak")),
    (2, ("x", "xmin", "xmax", "xpeak", "xcpeak")),
)

#: The limits of sep are those of the process. sep holds the GIL, so that nothing waits longer.
_SEP_LOCK: Final = Lock()


class Buffers:
    """Planes of one image, made when first asked for, kept for the next image of that shape."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.runs = np.empty((MAX_RUNS, 3), np.int32)
        self._planes: dict[str, NDArray[Any]] = {}

    def plane(self, name: str, kind: type[np.generic]) -> NDArray[Any]:
        """Return a plane; it is zero when new, and otherwise holds what was left in it."""
        if name not in self._planes:
            self._planes[name] = np.zeros(self.shape, kind)
        return self._planes[name]


class _Kept(local):
    """Buffers that a thread has used; they are gone when it ends."""

    def __init__(self) -> None:
        self.free: list[Buffers] = []


_KEPT: Final = _Kept()


def borrow(shape: Shape) -> Buffers:
    """Return planes that nobody uses; others that this thread keeps are freed."""
    free = [buffers for buffers in _KEPT.free if buffers.shape == shape]
    _KEPT.free = free
    return free.pop() if free else Buffers(shape)


def give_back(buffers: Buffers) -> None:
    """Keep planes for the next image of this thread; ``segments`` must be zero."""
    _KEPT.free.append(buffers)


def release_buffers() -> None:
    """Free the planes that this thread keeps for its next image."""
    _KEPT.free.clear()


class Search:
    """The search for sources in one image.

    Parameters
    ----------
    data : ndarray of float32, shape (ny, nx), C-contiguous
    mask : ndarray of uint16, shape (ny, nx), C-contiguous, optional
        Quality bits.
    variance : ndarray of float32, shape (ny, nx), C-contiguous, optional
        Gives the course of the noise; its level is measured.
    flags : int
        Pixels with any of these bits are left out.
    mesh : Mesh
        The background.
    threshold : float, sigma of a pixel
    buffers : Buffers
        Of the shape of the image.
    """

    def __init__(
        self,
        data: Image,
        mask: NDArray[np.uint16] | None,
        variance: Image | None,
        flags: int,
        mesh: Mesh,
        threshold: float,
        buffers: Buffers,
    ) -> None:
        self.data, self.flags, self.mesh, self.threshold = data, flags, mesh, threshold
        self.mask = np.empty((0, 0), np.uint16) if mask is None else mask
        self.buffers = buffers
        self.image: Image = buffers.plane("image", np.float32)
        self.bad: NDArray[np.uint8] = buffers.plane("bad", np.uint8)
        self.segments = np.empty((0, 0), np.int32)
        self.boxes = np.zeros((0, 5), np.int64)
        self.variance = self.noise = _NOTHING
        self.scale = (np.float32(1), np.float32(0))
        self.runs = 0
        self.has_noise = variance is not None and self._use_variance(variance)
        if not self.has_noise and mesh.rms > 0.0:
            self.variance, self.noise = _NOTHING, buffers.plane("noise", np.float32)
            # Cells of a border can be quiet by chance or by masks; none is trusted to be so.
            self.scale = (np.float32(1), _QUIET * np.float32(mesh.rms))
            self._sweep()
            self.has_noise = True

    def _use_variance(self, variance: Image) -> bool:
        """Take the noise from a variance plane, unless it knows that of few pixels."""
        pulls, sigmas = sample_noise(self.data, variance, self.mask, self.flags, self.mesh)
        if pulls.size == 0:
            return False
        pulls -= np.float32(median(pulls))  # in place: it is ours
        factor = _SIGMA_OF_MAD * median(np.abs(pulls, out=pulls))
        # Noise-free data: the variance still says what is significant.
        scale = np.float32(factor if factor > 0.05 else 1.0)
        self.variance, self.scale = variance, (scale, np.float32(scale * median(sigmas)))
        known = self._sweep()
        if known < 0.5 * self.mesh.good:
            return False
        if known < self.mesh.good:
            self._fill_noise()  # `variance` does not tell that of all pixels
        return True

    def _sweep(self) -> int:
        self.runs, known = sweep(
            self.data, self.variance, self.mask, np.uint16(self.flags), self.mesh.size,
            self.mesh.level, self.mesh.noise, self.scale, self.threshold,
            self.image, self.bad, self.noise, self.buffers.runs,
        )  # fmt: skip
        return known

    def _fill_noise(self) -> None:
        if self.noise.size == 0:
            self.noise = self.buffers.plane("noise", np.float32)
            self._sweep()

    @property
    def rms(self) -> float:
        """Median noise of a pixel."""
        part = (slice(None, None, 8), slice(None, None, 8))
        image, bad = np.ascontiguousarray(self.image[part]), np.ascontiguousarray(self.bad[part])
        variance, noise = (np.ascontiguousarray(p[part]) for p in (self.variance, self.noise))
        box = (0, bad.shape[0], 0, bad.shape[1], 0)
        _, _, noise = cut(image, bad, variance, noise, self.scale, box)
        good = noise[bad == 0]
        return median(good) if good.size else 0.0

    @property
    def field(self) -> Field:
        """The planes to measure sources on."""
        bad = self.bad.view(np.bool_)
        if self.noise.size:
            return Field(self.image, bad, self.segments, self.noise, False, 1.0)
        return Field(self.image, bad, self.segments, self.variance, True, float(self.scale[0]))

    def close(self) -> None:
        """Give the planes back; what refers to them is not to be used any more."""
        if self.segments is not self.buffers.plane("segments", np.int32):
            give_back(self.buffers)
            return
        for y0, y1, x0, x1, _ in self.boxes.tolist():
            self.segments[y0:y1, x0:x1] = 0
        give_back(self.buffers)

    def run(
        self, minarea: int, nthresh: int, contrast: float, gain: float | None,
        objmask: NDArray[np.uint8],
    ) -> NDArray[Any]:  # fmt: skip
        """Find the detections.

        Parameters
        ----------
        minarea : int, pixel
        nthresh, contrast
            Levels and least contrast of deblending.
        gain : float, optional
            For the errors of positions.
        objmask : ndarray of uint8, shape (ny, nx)
            Set to 1 on the detections.

        Returns
        -------
        structured ndarray, shape (n,)
            As from sep, in order of y, then x; `segments` holds the numbers from 1.
        """
        shape = self.image.shape
        whole = np.array([[0, shape[0], 0, shape[1], self.image.size]])
        options: dict[str, Any] = {} if gain is None else {"gain": gain}
        options |= {"minarea": minarea, "deblend_nthresh": nthresh, "deblend_cont": contrast}
        boxes = whole
        if self.runs >= 0:
            boxes = find_boxes(self.buffers.runs[: self.runs], minarea, shape)
        sizes = (boxes[:, 1] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 2])
        if sizes.sum() > _CROWDED * self.image.size:
            self._fill_noise()
            self.boxes = whole
            found, self.segments = _extract(
                self.image, self.bad, self.noise, self.threshold, int(boxes[:, 4].sum()), options
            )
        else:
            self.boxes, self.segments = boxes, self.buffers.plane("segments", np.int32)
            found = self._search_boxes(options)
        alive = surviving(self.image, self.segments, self.boxes, found, minarea)
        rows = np.flatnonzero(alive)
        rows = rows[np.lexsort((found["x"][rows], found["y"][rows]))]
        names = np.zeros(len(found) + 1, np.int32)
        names[rows + 1] = np.arange(1, rows.size + 1)
        relabel(self.segments, self.boxes, names, objmask)
        return found[rows]

    def _search_boxes(self, options: dict[str, Any]) -> NDArray[Any]:
        parts = []
        count = 0
        for box in self.boxes.tolist():
            stamp, bad, noise = cut(
                self.image, self.bad, self.variance, self.noise, self.scale, tuple(box)
            )
            found, own = _extract(stamp, bad, noise, self.threshold, box[4], options)
            target = self.segments[box[0] : box[1], box[2] : box[3]]
            np.add(own, count, out=target, where=own > 0)
            count += len(found)
            parts.append(found)
        if not parts:
            return np.asarray(sep.extract(np.zeros((3, 3), np.float32), 1.0)[:0])
        all_found = np.concatenate(parts)
        for corner, columns in _PLACES:
            first = np.repeat(self.boxes[:, corner], [len(part) for part in parts])
            for name in columns:
                all_found[name] += first
        return all_found


def _extract(
    image: Image,
    bad: NDArray[np.uint8],
    noise: Image,
    threshold: float,
    bright: int,
    options: dict[str, Any],
) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """Run sep, with more memory, and in the end without deblending, where it asks for it.

    sep clears its stack of pixels at each call: 1e6 of them take 25 ms. `bright` is the number of
    pixels that it will need room for.
    """
    stack, limit = 2 * bright + 4 * image.shape[1] + 1000, 4096
    options = dict(options)
    with _SEP_LOCK:
        old = sep.get_extract_pixstack(), sep.get_sub_object_limit()
        try:
            while True:
                sep.set_extract_pixstack(stack)
                sep.set_sub_object_limit(limit)
                try:
                    found, segments = sep.extract(
                        image, threshold, err=noise, mask=bad.view(np.bool_), clean=False,
                        filter_kernel=FILTER, filter_type="conv", segmentation_map=True, **options,
                    )  # fmt: skip
                    return found, segments
                except Exception as error:  # sep raises the bare class
                    if "pixel buffer full" in str(error) and stack < 4 * image.size:
                        stack *= 4
                        continue
                    if "deblending overflow" not in str(error) or options["deblend_cont"] >= 1.0:
                        raise
                    if limit >= 65536:
                        options["deblend_cont"] = 1.0
                    limit *= 4
        finally:
            sep.set_extract_pixstack(old[0])
            sep.set_sub_object_limit(old[1])
