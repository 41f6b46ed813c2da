"""What torch samples on a device is what OpenCV samples on the processor; here the device is the processor itself."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from restorer.faces import align
from restorer.faces.holding import Holding
from restorer.faces.paste import paste
from restorer.imaging.layers import Layer
from restorer.imaging.sampling import PLAIN
from restorer.imaging.tensor_sampling import TensorSampling, area_weights, lanczos_weights

DEVICE = TensorSampling("cpu")


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return a picture (h, w, 3) of 0 to 1 with edges and grain."""
    rng = np.random.default_rng(seed)
    coarse = cv2.resize(rng.random((9, 9, 3)).astype(np.float32), (width, height), interpolation=cv2.INTER_NEAREST)
    picture: np.ndarray = np.clip(coarse + 0.1 * rng.standard_normal((height, width, 3)), 0, 1).astype(np.float32)
    return picture


def place(scale: float, angle: float, x: float, y: float) -> np.ndarray:
    """Return the map from a photo to a crop: about the point (x, y) of the photo, which comes to (256, 256)."""
    turned = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.hstack([turned, (np.array([256, 256]) - turned @ (x, y))[:, None]])


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize(
    ("scale", "angle", "x"), [(2.3, 0.4, 300.0), (1.0, 0.0, 300.5), (0.7, -2.0, 60.0), (0.21, 0.1, 333.0)]
)
def test_crops_are_the_same(dtype: str, scale: float, angle: float, x: float) -> None:
    """Enlarged, as they are, reduced, and reduced so far that they are averaged first; also beyond the photo's edge."""
    top = np.iinfo(dtype).max
    photo = np.rint(noise(500, 640) * top).astype(dtype)
    matrix = place(scale, angle, x, 240)
    plain, other = (align.extract(photo, matrix, 512, each) for each in (PLAIN, DEVICE))
    assert other.dtype == np.float32
    assert np.abs(plain - other).max() < 0.5 / 255


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("holding", [None, Holding(1.0, 2.0), Holding(0.6, 1.0, 1.5), Holding(0.0, 2.0, 2.5)])
@pytest.mark.parametrize(("scale", "angle"), [(2.0, 0.4), (0.4, -0.3), (0.09, 1.2)])
def test_faces_are_pasted_alike(dtype: str, holding: Holding | None, scale: float, angle: float) -> None:
    """Reduced, enlarged, and so large that several tiles are needed: pixels, weights and layers."""
    top = np.iinfo(dtype).max
    photo = np.rint(noise(640, 800, 1) * top).astype(dtype)
    face, mask = noise(512, 512, 2), cv2.GaussianBlur(noise(64, 64, 3)[..., 0], (0, 0), 5)
    mask[:9] = 0
    found: list[tuple[np.ndarray, np.ndarray, Layer, Any]] = []
    for sampling in (PLAIN, DEVICE):
        canvas = cv2.resize(photo, (1600, 1300), interpolation=cv2.INTER_CUBIC)
        marks, kept = np.zeros(canvas.shape[:2], np.uint8), list[Layer]()
        box = paste(
            canvas, face, mask, place(scale, angle, 410, 300), (800, 640), 512, 0.9, marks, kept, holding, sampling
        )
        found.append((canvas, marks, kept[0], box))
    (canvas, marks, layer, box), (others, other_marks, other_layer, other_box) = found
    levels = top / 255
    assert box == other_box
    assert np.abs(canvas.astype(int) - others).max() <= levels
    assert np.abs(marks.astype(int) - other_marks).max() <= 1
    assert layer.mask is not None
    assert other_layer.mask is not None
    seen = layer.mask > 0  # beyond the crop a tile shows what lies near its own edge, and tiles are of other sizes
    assert np.abs(layer.pixels.astype(int) - other_layer.pixels)[seen].max() <= levels
    assert np.abs(layer.mask.astype(int) - other_layer.mask).max() <= levels


def test_a_face_of_several_tiles_is_that_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    canvas, face, mask = np.zeros((900, 900, 3), np.uint8), noise(512, 512), np.ones((64, 64), np.float32)
    whole, parts = canvas.copy(), canvas.copy()
    paste(whole, face, mask, place(0.6, 0.2, 450, 450), (900, 900), 512, holding=Holding(1.0), sampling=DEVICE)
    monkeypatch.setattr(DEVICE, "tile", 200, raising=False)
    paste(parts, face, mask, place(0.6, 0.2, 450, 450), (900, 900), 512, holding=Holding(1.0), sampling=DEVICE)
    assert np.abs(whole.astype(int) - parts).max() <= 1
    assert whole.any()


class Full(TensorSampling):
    """A device whose memory is full after some tiles."""

    def __init__(self, tiles: int) -> None:
        super().__init__("cpu")
        self.tile, self.left = 256, tiles

    def tile_of(self, *arguments: Any) -> Any:
        """Work until there is no room."""
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return super().tile_of(*arguments)


@pytest.mark.parametrize("tiles", [0, 3])
def test_where_the_memory_of_the_device_is_full_the_processor_takes_over(tiles: int) -> None:
    photo, face, mask = noise(600, 600), noise(512, 512, 1), np.ones((64, 64), np.float32)
    pixels = np.rint(photo * 255).astype(np.uint8)
    matrix = place(0.8, 0.2, 300, 300)
    assert np.abs(align.extract(pixels, matrix, 512) - align.extract(pixels, matrix, 512, Full(tiles))).max() < 0.002
    results = [pixels.copy(), pixels.copy()]
    for canvas, sampling in zip(results, (PLAIN, Full(tiles)), strict=True):
        paste(canvas, face, mask, matrix, (600, 600), 512, sampling=sampling)
    assert np.abs(results[0].astype(int) - results[1]).max() <= 1  # no tile is blended twice


def test_another_error_of_a_device_is_said() -> None:
    class Broken(TensorSampling):
        def tile_of(self, *arguments: Any) -> Any:
            raise RuntimeError("device-side assert triggered")

    with pytest.raises(RuntimeError, match="assert"):
        align.extract(np.zeros((600, 600, 3), np.uint8), place(0.8, 0, 300, 300), 512, Broken("cpu"))


@pytest.mark.parametrize(("before", "after"), [(10, 10), (100, 37), (64, 16), (7, 1)])
def test_weights_of_reductions_are_those_of_the_libraries(before: int, after: int) -> None:
    line = np.random.default_rng(0).random((1, before)).astype(np.float32)
    area = cv2.resize(line, (after, 1), interpolation=cv2.INTER_AREA)
    assert np.abs(area[0] - area_weights(before, after) @ line[0]).max() < 1e-5
    from PIL import Image

    lanczos = np.asarray(Image.fromarray(line).resize((after, 1), Image.Resampling.LANCZOS))
    assert np.abs(lanczos[0] - lanczos_weights(before, after) @ line[0]).max() < 1e-5
