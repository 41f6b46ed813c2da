"""The background: resampling that is exact, and tiles that leave no seam."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn
from torch.nn import functional as F

from restorer.errors import OutOfMemoryError
from restorer.imaging.resize import resize
from restorer.models import REGISTRY
from restorer.models.base import LoadedNetwork, Precision, UpscalerArchitecture
from restorer.upscaling.tiles import NetworkUpscaler, _edges
from tests.support.networks import at_work


class _Model(UpscalerArchitecture):
    name = "test-upscaler"
    overlap = 16
    tile = 64

    def flops(self, arguments: Any) -> float:
        return 1.0

    def factors(self, arguments: Any) -> tuple[int, ...]:
        return (2, 4)

    def build(self, arguments: Any) -> nn.Module:
        return _Cubic()


class _Cubic(nn.Module):
    """Enlarges by a cubic filter, in place of a trained network."""

    def __init__(self, faults: list[type[Exception]] | None = None) -> None:
        super().__init__()
        self.faults = faults or []
        self.shapes: list[tuple[int, ...]] = []
        self.factors: set[int] = set()

    def forward(self, x: torch.Tensor, factor: int) -> torch.Tensor:
        self.shapes.append(tuple(x.shape))
        self.factors.add(factor)
        if self.faults:
            raise self.faults.pop(0)("CUDA out of memory (in a test)")
        return F.interpolate(x, scale_factor=factor, mode="bicubic", align_corners=False)


def _upscaler(network: nn.Module, tile: int | None = None, precision: Precision = "fp32") -> NetworkUpscaler:
    table = cast("Any", SimpleNamespace(name="test-upscaler"))
    return NetworkUpscaler(at_work(LoadedNetwork(network, table, _Model()), precision), tile)


def _photo(width: int, height: int, seed: int = 0, dtype: type = np.uint8) -> np.ndarray:
    noise = np.random.default_rng(seed).random((height // 4 + 2, width // 4 + 2, 3), np.float32)
    smooth = np.stack([np.asarray(Image.fromarray(noise[..., i]).resize((width, height), 3)) for i in range(3)], -1)
    photo: np.ndarray = np.rint(np.clip(smooth, 0, 1) * np.iinfo(dtype).max).astype(dtype)
    return photo


@pytest.mark.parametrize("scale", [4, 2, 3.5, 8, 0.5])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiles_leave_no_seam(scale: float, dtype: type) -> None:
    photo = _photo(150, 110, dtype=dtype)
    size = (round(150 * scale), round(110 * scale))
    whole = _upscaler(_Cubic(), 4096).upscale(photo, size)
    tiled = _upscaler(_Cubic(), 48).upscale(photo, size)
    assert whole.shape == (size[1], size[0], 3)
    assert whole.dtype == dtype
    step = np.iinfo(dtype).max / 255
    assert np.abs(whole.astype(int) - tiled.astype(int)).max() <= step


def test_a_seam_would_be_seen_without_the_overlap() -> None:
    """The comparison above can fail: tiles that see nothing of their neighbours differ where they meet."""
    photo = _photo(150, 110)
    whole = _upscaler(_Cubic(), 4096).upscale(photo, (600, 440))
    upscaler = _upscaler(_Cubic(), 48)
    upscaler._overlap = 0
    assert np.abs(whole.astype(int) - upscaler.upscale(photo, (600, 440)).astype(int)).max() > 3


def test_the_whole_picture_never_goes_through_at_once() -> None:
    network = _Cubic()
    _upscaler(network, 64).upscale(_photo(400, 300), (800, 600))
    assert max(max(shape[2:]) for shape in network.shapes) <= 64 + 2 * 16


def test_a_tile_that_does_not_fit_into_memory_is_halved() -> None:
    network = _Cubic([torch.OutOfMemoryError])
    upscaler = _upscaler(network, 256)
    result = upscaler.upscale(_photo(200, 150), (400, 300))
    assert result.shape == (300, 400, 3)
    assert max(network.shapes[-1][2:]) <= 128 + 2 * 16
    assert upscaler.notes == {"test-upscaler: the memory of cpu asked for tiles of 128 px.": 1}


class _Coloured(_Cubic):
    """Enlarges, and tints everything, as a trained network does with the noise of a print."""

    def forward(self, x: torch.Tensor, factor: int) -> torch.Tensor:
        return super().forward(x, factor) + torch.tensor([0.2, -0.1, 0.05])[None, :, None, None] * x.mean()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("size", [(300, 220), (411, 333)])
def test_a_black_and_white_photo_gets_no_colour(dtype: type, size: tuple[int, int]) -> None:
    photo = np.repeat(_photo(150, 110, dtype=dtype)[..., :1], 3, axis=2)
    result = _upscaler(_Coloured()).upscale(photo, size)
    assert (result == result[..., :1]).all()
    coloured = _upscaler(_Coloured()).upscale(_photo(150, 110, dtype=dtype), size)
    assert (coloured != coloured[..., :1]).any()


def test_a_black_and_white_photo_keeps_the_tint_of_jpeg_and_takes_the_networks_brightness() -> None:
    photo = np.repeat(_photo(150, 110)[..., :1] // 2 + 110, 3, axis=2)
    photo[..., 0] += 3
    result = _upscaler(_Coloured(), tile=256).upscale(photo, (600, 440)).astype(int)
    assert np.abs(result[..., 0] - result[..., 1] - 3).max() <= 1
    with torch.inference_mode():
        whole = _Coloured()(torch.from_numpy(photo).permute(2, 0, 1)[None] / 127.5 - 1, 4)[0].permute(1, 2, 0).numpy()
    luma = np.array([0.299, 0.587, 0.114])
    assert np.abs((whole + 1) * 127.5 @ luma - result @ luma).max() < 1


def test_memory_that_never_suffices_is_an_error() -> None:
    network = _Cubic([torch.OutOfMemoryError] * 9)
    with pytest.raises(OutOfMemoryError, match="memory of cpu does not suffice for test-upscaler: CUDA out of memory"):
        _upscaler(network, 128).upscale(_photo(100, 100), (200, 200))
    assert len(network.shapes) == 2  # with tiles of 128 and of 64 px; none is smaller


def test_a_broken_output_is_computed_again_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    class Broken(_Cubic):
        def forward(self, x: torch.Tensor, factor: int) -> torch.Tensor:
            low = torch.is_autocast_enabled("cpu")
            seen.append("bf16" if low else "fp32")
            return super().forward(x, factor) * (torch.nan if low else 1)

    result = _upscaler(Broken(), precision="bf16").upscale(_photo(60, 60), (120, 120))
    assert seen == ["bf16", "fp32"]
    assert result.std() > 10


@given(
    width=st.integers(1, 60),
    height=st.integers(1, 60),
    scale=st.floats(0.1, 6),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    value=st.integers(0, 255),
)
@settings(max_examples=60, deadline=None)
def test_resize_keeps_flat_pictures_and_sizes(width: int, height: int, scale: float, dtype: type, value: int) -> None:
    flat: np.ndarray = np.full((height, width, 3), value * (np.iinfo(dtype).max // 255), dtype)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    result = resize(flat, size)
    assert result.shape == (size[1], size[0], 3)
    assert result.dtype == dtype
    assert (result == flat[0, 0]).all()


@pytest.mark.parametrize("scale", [2, 3.5, 0.5])
def test_resize_does_not_shift(scale: float) -> None:
    """A ramp stays where it was: pixel centres are at +0.5."""
    width = 120
    ramp = np.tile((np.arange(width) + 0.5) * 500, (8, 1)).astype(np.uint16)
    wide = round(width * scale)
    expected = (np.arange(wide) + 0.5) * 500 / (wide / width)
    inner = slice(round(10 * scale), round(-10 * scale))
    error = (resize(ramp, (wide, 8))[0].astype(float) - expected)[inner]
    assert np.abs(error).max() <= 0.025 * 500  # Lanczos does not keep a ramp quite straight
    assert abs(error.mean()) <= 0.001 * 500


def test_16_bit_is_resized_in_16_bit() -> None:
    photo = _photo(40, 40, dtype=np.uint16)
    result = resize(photo, (80, 80))
    assert len(np.unique(result)) > 256


@pytest.mark.parametrize(("scale", "factor"), [(0.5, 2), (1.7, 2), (2, 2), (2.01, 4), (4, 4), (8, 4)])
def test_the_smallest_factor_that_suffices_is_taken(scale: float, factor: int) -> None:
    network = _Cubic()
    _upscaler(network).upscale(_photo(101, 67), (round(101 * scale), round(67 * scale)))
    assert network.factors == {factor}


@given(length=st.integers(1, 5000), tile=st.integers(1, 600), grid=st.sampled_from([1, 8]))
@settings(deadline=None)
def test_tiles_begin_on_the_grid_and_cover_the_photo(length: int, tile: int, grid: int) -> None:
    edges = _edges(length, tile, grid)
    assert (edges[0], edges[-1]) == (0, length)
    assert all(edge % grid == 0 for edge in edges[:-1])
    widths = np.diff(edges)
    assert (widths > 0).all()
    assert widths.max() <= max(tile, grid)


def _tiny(**arguments: Any) -> nn.Module:
    """Return a network of the built-in upscaler's kind that changes what it sees, though it was never trained."""
    torch.manual_seed(0)
    network = REGISTRY["tinyupscaler"].build(arguments).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.5).add_(0.01 * torch.randn_like(parameter))
    return network


@pytest.mark.parametrize("tile", [16, 24, 64])
def test_the_built_in_kind_of_network_leaves_no_seam_either(tile: int) -> None:
    """Its coarse levels put a photo on a grid of 8 pixels: tiles that began elsewhere would see another one."""
    table = cast("Any", SimpleNamespace(name="test-upscaler"))
    architecture = REGISTRY["tinyupscaler"]
    assert isinstance(architecture, UpscalerArchitecture)
    network = at_work(LoadedNetwork(_tiny(widths=[8, 8, 8], blocks=[1, 1, 1]), table, architecture))
    photo = _photo(205, 131)
    whole = NetworkUpscaler(network, 4096).upscale(photo, (410, 262)).astype(int)
    tiled = NetworkUpscaler(network, tile).upscale(photo, (410, 262)).astype(int)
    assert np.abs(tiled - whole).max() <= 1
    shifted = NetworkUpscaler(network, 60)
    shifted._grid = 1
    assert np.abs(shifted.upscale(photo, (410, 262)).astype(int) - whole).max() > 3


def test_the_built_in_kind_of_network_enlarges_any_size_and_is_known_by_its_shapes() -> None:
    arguments = {"widths": [8, 16, 8], "blocks": [1, 2, 3]}
    architecture = REGISTRY["tinyupscaler"]
    assert isinstance(architecture, UpscalerArchitecture)
    network = _tiny(**arguments)
    picture = torch.rand(1, 3, 21, 34) * 2 - 1
    with torch.inference_mode():
        for factor in architecture.factors(arguments):
            assert network(picture, factor).shape == (1, 3, 21 * factor, 34 * factor)
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    assert architecture.infer(shapes) == arguments
    assert architecture.infer({"body.0.weight": (8, 3, 3, 3)}) == {}
    with pytest.raises(ValueError, match="levels"):
        architecture.build({"widths": [8, 8], "blocks": [1]})


@pytest.mark.parametrize("widths", [[64, 64, 96], [8, 16]])
def test_the_operations_of_the_built_in_kind_of_network_are_counted(widths: list[int]) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    architecture = REGISTRY["tinyupscaler"]
    assert isinstance(architecture, UpscalerArchitecture)
    arguments = {"widths": widths, "blocks": [2] * len(widths)}
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        architecture.build(arguments)(torch.empty(1, 3, 64, 64), 4)
    assert architecture.flops(arguments) * 64 * 64 == pytest.approx(counter.get_total_flops())


def test_another_factor_than_the_networks_own_is_refused() -> None:
    architecture = REGISTRY["srvggnet"]
    network = architecture.build({**architecture.defaults, "num_feat": 8, "num_conv": 1})
    with pytest.raises(ValueError, match="by 4, not by 2"):
        network(torch.zeros(1, 3, 8, 8), 2)


@pytest.mark.parametrize("name", ["rrdbnet", "srvggnet"])
@pytest.mark.parametrize("scale", [2, 4])
def test_real_esrgan_networks_enlarge_any_size(name: str, scale: int) -> None:
    """Odd sizes too, which the network that unshuffles its input first cannot take as they are."""
    architecture = REGISTRY[name]
    assert isinstance(architecture, UpscalerArchitecture)
    small = {"num_feat": 8, "num_block": 1, "num_grow_ch": 4, "num_conv": 2, "scale": scale, "upscale": scale}
    arguments = {**architecture.defaults, **{k: v for k, v in small.items() if k in architecture.defaults}}
    network = architecture.build(arguments).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, 33, 21)).shape == (1, 3, 33 * scale, 21 * scale)
    upstream = {key.removeprefix("net."): value for key, value in network.state_dict().items()}
    found = architecture.infer({key: tuple(value.shape) for key, value in upstream.items()})
    assert {**architecture.defaults, **found} == arguments


def test_flops_are_those_of_the_convolutions() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    for name in ("rrdbnet", "srvggnet"):
        for scale in (2, 4) if name == "rrdbnet" else (4,):
            architecture = REGISTRY[name]
            assert isinstance(architecture, UpscalerArchitecture)
            arguments = {**architecture.defaults, **({"scale": scale, "num_block": 2} if name == "rrdbnet" else {})}
            with torch.device("meta"):
                network = architecture.build(arguments)
                with FlopCounterMode(display=False) as counter:
                    network(torch.zeros(1, 3, 64, 64))
            counted = counter.get_total_flops() / 64**2
            assert architecture.flops(arguments) == pytest.approx(counted, rel=0.02)
