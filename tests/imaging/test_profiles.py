"""Colours go from a photo's own space to sRGB and back as LittleCMS says, in floating point, and nothing is lost."""

from __future__ import annotations

import io
import struct
import tracemalloc

import numpy as np
import pytest
from PIL import Image, ImageCms

from restorer.imaging import icc, profiles
from restorer.photo import color
from tests.support.photo_files import cmyk_profile, grey_profile

WIDE = {"Adobe RGB": color.adobe_rgb_profile, "P3": color.display_p3_profile, "ProPhoto": color.prophoto_profile}


def lut_profile() -> bytes:
    """Return a scanner's profile: a table from RGB to Lab that no matrix with curves makes, and no way back in it."""
    side = 9
    steps = np.linspace(0, 1, side)
    r, g, b = np.meshgrid(steps, steps, steps, indexing="ij")
    light = 100 * (0.25 * r + 0.6 * g + 0.15 * b) ** 0.9
    chroma_a, chroma_b = 70 * (r - g) + 12 * r * b, 60 * (g - b) - 10 * r * g * (1 - b)
    table = np.stack([light / 100 * 65280, (chroma_a + 128) * 256, (chroma_b + 128) * 256], -1)
    lut = b"mft2" + bytes(4) + bytes((3, 3, side, 0)) + struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    lut += struct.pack(">2H", 2, 2) + 3 * struct.pack(">2H", 0, 65535)
    lut += np.rint(table).astype(">u2").tobytes() + 3 * struct.pack(">2H", 0, 65535)
    blocks = {b"desc": icc.description("A scanner"), b"wtpt": icc.xyz_tag((0.9642, 1.0, 0.8249))}
    return icc.icc_profile("scnr", "RGB ", {**blocks, b"A2B0": lut}, connection="Lab ")


def by_littlecms(profile: bytes, samples: np.ndarray) -> np.ndarray:
    picture = Image.fromarray(samples[None])
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    result = ImageCms.profileToProfile(
        picture,
        source,
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=ImageCms.Flags.NOOPTIMIZE,
    )
    assert result is not None
    values: np.ndarray = np.asarray(result)[0]
    return values


def colours(profile: bytes, *, grey: bool = False) -> profiles.Colours:
    found = profiles.colours_of(profile, grey=grey)
    assert found is not None
    return found


@pytest.mark.parametrize("make", [*WIDE.values(), lut_profile], ids=[*WIDE, "scanner"])
def test_what_networks_see_is_what_littlecms_says(make: object) -> None:
    profile = make()  # type: ignore[operator]
    samples = np.random.default_rng(0).integers(0, 256, (5000, 3)).astype(np.uint8)
    ours = colours(profile).seen(samples) * 255
    inside = ((ours > 30) & (ours < 253)).all(axis=1)  # near an edge of sRGB the library cuts, and we go on
    assert inside.sum() > 500
    differences = np.abs(ours - by_littlecms(profile, samples))[inside]
    assert np.percentile(differences, 99) < 1.1  # its own are rounded to 8 bits
    assert differences.max() < 3


@pytest.mark.parametrize("make", [*WIDE.values(), lut_profile], ids=[*WIDE, "scanner"])
def test_there_and_back_is_where_it_began_also_outside_of_srgb(make: object) -> None:
    profile = make()  # type: ignore[operator]
    own = np.random.default_rng(1).integers(0, 65536, (20000, 3)).astype(np.uint16)
    space = colours(profile)
    seen = space.seen(own)
    rest = space.rest(own, seen)
    assert rest is not None
    assert (rest != 0).any(axis=1).mean() > 0.1
    assert seen.min() == 0
    assert seen.max() == 1
    again = space.back(seen[None], own[None], seen[None])[0] * 65535
    assert np.abs(again - own).max() < 65535 * 2.1e-4


def test_what_a_network_changes_is_changed_and_what_srgb_lacks_is_kept() -> None:
    space = colours(color.prophoto_profile())
    own = np.array([[[0.05, 0.9, 0.05], [0.4, 0.4, 0.4]]])  # a green far outside, and a grey
    seen = space.seen(own)
    lighter = np.clip(seen + np.float32(0.02), 0, 1)
    changed = space.back(lighter, own, seen) - own
    assert (changed[0, 1] > 0.01).all()
    assert np.abs(changed[0, 0]).max() < 0.06
    assert space.own(seen)[0, 0, 0] - own[0, 0, 0] > 0.1  # without what is put back, the green would have gone
    blue = np.broadcast_to(np.array([0.1, 0.1, 0.8], np.float32), seen.shape)
    assert space.back(blue, own, seen) == pytest.approx(space.own(blue))  # nothing of the green is in another colour


@pytest.mark.parametrize(
    "profile",
    [
        color.srgb_profile(),
        color._rgb_profile(
            "sRGB by table", ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.7141)),
            color._table(profiles.decoded(np.linspace(0, 1, 1024))),
        ),
    ],
    ids=["LittleCMS's", "by table"],
)  # fmt: skip
def test_srgb_by_any_profile_is_left_alone(profile: bytes) -> None:
    assert profiles.colours_of(profile) is None
    assert profiles.colours_of(profile, grey=True) is None


def test_greys_stay_equal_to_the_last_bit() -> None:
    ramp = np.repeat(np.arange(65536, dtype=np.uint16)[:, None], 3, axis=1)
    for space in (colours(grey_profile()), colours(color.prophoto_profile(), grey=True)):
        seen = space.seen(ramp)
        back = space.own(seen)
        assert (np.ptp(seen, axis=1) == 0).all()
        assert (np.ptp(back, axis=1) == 0).all()
        assert np.abs(np.rint(back * 65535) - ramp).max() <= 2
    assert profiles.colours_of(color.display_p3_profile(), grey=True) is None  # its grey is sRGB's


def test_a_grey_profile_means_its_curve() -> None:
    middle = colours(grey_profile()).seen(np.full((1, 3), 128, np.uint8))
    light = (128 / 255) ** (int(1.8 * 256) / 256)
    assert middle == pytest.approx(profiles.encoded(np.full((1, 3), light)), abs=1e-3)


@pytest.mark.parametrize("size", [(3, 5), (1, 1), (200, 700)])
def test_a_picture_keeps_its_type_and_size(size: tuple[int, int]) -> None:
    for dtype in (np.uint8, np.uint16):
        own = np.random.default_rng(2).integers(0, np.iinfo(dtype).max, (*size, 3)).astype(dtype)
        seen = colours(color.adobe_rgb_profile()).picture(own)
        assert seen.shape == own.shape
        assert seen.dtype == dtype


def broken() -> list[bytes]:
    whole = color.adobe_rgb_profile()
    flat = color._rgb_profile("flat", ((0.3, 0.3, 0.3),) * 3, color._gamma(256))
    dark = color._rgb_profile("dark", ((0.0, 0.0, 0.0),) * 3, color._gamma(256))
    return [whole[:200], whole[:132], cmyk_profile(), flat, dark, whole[:16] + b"Luv " + whole[20:]]


@pytest.mark.parametrize("profile", broken(), ids=["cut", "head only", "CMYK", "flat", "dark", "Luv"])
def test_a_profile_that_tells_nothing_is_said_to(profile: bytes) -> None:
    with pytest.raises(icc.UnusableProfileError):
        profiles.colours_of(profile)


def test_between_nodes_it_is_linear() -> None:
    grid = np.random.default_rng(3).random((3, 3, 3, 3, 2))
    at = np.array([[0.0, 0.5, 1.0, 0.25], [1.0, 1.0, 1.0, 1.0]])
    found = profiles.interpolated(grid, at)
    assert found[1] == pytest.approx(grid[2, 2, 2, 2])
    assert found[0] == pytest.approx((grid[0, 1, 2, 0] + grid[0, 1, 2, 1]) / 2)


def test_a_scanners_profile_takes_little_memory() -> None:
    """All nodes against all starts at once would be half a gibibyte, for a photo of any size."""
    profiles.colours_of.cache_clear()
    tracemalloc.start()
    try:
        found = profiles.colours_of(lut_profile())
        kept, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found is not None
    assert most < 96 * 2**20
    assert kept < 3 * 2**20


def test_light_beyond_the_largest_number_is_that_number_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What lay in memory stood in its place: another picture each time, of a damaged profile (campaign)."""
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, 256) + bytes(2)
    blocks = {f"{channel}TRC".encode(): curve for channel in "rgb"}
    for channel, light in zip("rgb", ((3.0, 0.1, 0.1), (0.1, 0.7, 0.1), (0.1, 0.1, 0.7)), strict=True):
        blocks[f"{channel}XYZ".encode()] = icc.xyz_tag(light)
    profile = icc.icc_profile(
        "mntr", "RGB ", {**blocks, b"wtpt": icc.xyz_tag(icc.WHITE), b"desc": icc.description("x")}
    )
    real = np.empty
    monkeypatch.setattr(np, "empty", lambda *given, **more: np.full_like(real(*given, **more), 1e30))
    found = icc.measured(profile, np.array([[255, 0, 0], [0, 255, 0]], np.uint8))
    assert np.allclose(found, [[65535 / 32768, 0.1, 0.1], [0.1, 0.7, 0.1]], atol=1e-3)
