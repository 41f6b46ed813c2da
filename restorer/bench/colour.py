"""Measures what happens to the colours of a photo that is not in sRGB, with its profile used and without, as CIEDE2000.

Three figures for each colour space, each beside what it is when the values go to the networks as if they were sRGB's:
a chart of flat colours of the whole space, which no upscaler and no face restorer should change; the share of the chart
that sRGB does not hold; and a portrait, which should come out as it does in sRGB.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from restorer.imaging import icc, profiles
from restorer.photo import color, photo_from_array

if TYPE_CHECKING:
    from restorer.pipeline.restorer import Restorer
    from restorer.pipeline.result import Result

PATCH = 48
"""Pixels a side of one colour of the chart; its middle half is measured."""
SIDE = 8
"""Colours a side of the chart."""
SPACES = {
    "sRGB": color.srgb_profile,
    "Adobe RGB": color.adobe_rgb_profile,
    "Display P3": color.display_p3_profile,
    "ProPhoto RGB": color.prophoto_profile,
}


def chart() -> np.ndarray:
    """Return a chart (h, w, 3), uint16: a cube of 4 x 4 x 4 colours from the darkest to the brightest of its space."""
    steps = np.linspace(0.06, 0.94, 4)
    colours = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(SIDE, SIDE, 3)
    wide = np.repeat(np.repeat(colours, PATCH, axis=0), PATCH, axis=1)
    levels: np.ndarray = np.rint(wide * 65535).astype(np.uint16)
    return levels


def patches(picture: np.ndarray) -> np.ndarray:
    """Return the mean colours (n, 3) of a chart's patches at any size, in [0, 1]."""
    side = picture.shape[0] // SIDE
    inner = slice(side // 4, side - side // 4)
    tiles = picture.reshape(SIDE, side, SIDE, side, 3)[:, inner, :, inner]
    means: np.ndarray = tiles.reshape(SIDE, inner.stop - inner.start, SIDE, -1, 3).mean(axis=(1, 3)) / 65535
    return means.reshape(-1, 3)


def lab(values: np.ndarray, profile: bytes) -> np.ndarray:
    """Return the CIELAB colours (n, 3) of values (n, 3) in [0, 1] of a profile, by LittleCMS at each of 52 steps."""
    steps = np.rint(np.linspace(0, 255, 52)).astype(np.uint8)
    nodes = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1)
    grid = icc.measured(profile, nodes.reshape(-1, 3))
    return _lab_of(profiles.interpolated(np.cbrt(grid).reshape(nodes.shape), values) ** 3)


def _lab_of(xyz: np.ndarray) -> np.ndarray:
    relative = xyz / np.array([0.9642, 1.0, 0.8249])
    f = np.where(relative > (6 / 29) ** 3, np.cbrt(relative), relative * (29 / 6) ** 2 / 3 + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


def ciede2000(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the differences (n,) of CIELAB colours (n, 3) by CIEDE2000 (ISO/CIE 11664-6), all weights 1."""
    (l1, a1, b1), (l2, a2, b2) = first.T, second.T
    mean_c7 = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2) ** 7
    g = 0.5 * (1 - np.sqrt(mean_c7 / (mean_c7 + 25**7)))
    c1, c2 = np.hypot((1 + g) * a1, b1), np.hypot((1 + g) * a2, b2)
    h1, h2 = (np.arctan2(b, (1 + g) * a) % (2 * np.pi) for a, b in ((a1, b1), (a2, b2)))
    grey = c1 * c2 == 0
    turn = np.where(grey, 0, (h2 - h1 + np.pi) % (2 * np.pi) - np.pi)
    d_l, d_c, d_h = l2 - l1, c2 - c1, 2 * np.sqrt(c1 * c2) * np.sin(turn / 2)
    mean_l, mean_c = (l1 + l2) / 2, (c1 + c2) / 2
    mean_h = np.where(grey, h1 + h2, h1 + turn / 2)
    t = 1 - 0.17 * np.cos(mean_h - np.pi / 6) + 0.24 * np.cos(2 * mean_h)
    t += 0.32 * np.cos(3 * mean_h + np.radians(6)) - 0.20 * np.cos(4 * mean_h - np.radians(63))
    s_l = 1 + 0.015 * (mean_l - 50) ** 2 / np.sqrt(20 + (mean_l - 50) ** 2)
    s_c, s_h = 1 + 0.045 * mean_c, 1 + 0.015 * mean_c * t
    degrees = np.degrees(mean_h) % 360
    twist = np.radians(60) * np.exp(-(((degrees - 275) / 25) ** 2))
    mean_c7 = mean_c**7
    r_t = -2 * np.sqrt(mean_c7 / (mean_c7 + 25**7)) * np.sin(twist)
    differences: np.ndarray = np.sqrt(
        (d_l / s_l) ** 2 + (d_c / s_c) ** 2 + (d_h / s_h) ** 2 + r_t * (d_c / s_c) * (d_h / s_h)
    )
    return differences


def restored(restorer: Restorer, pixels: np.ndarray, profile: bytes | None) -> Result:
    """Return the result of a picture with this profile, or without any."""
    photo = photo_from_array(pixels)
    photo.icc_profile = profile
    return restorer.restore(photo)


def measure_chart(restorer: Restorer, space: bytes) -> dict[str, float]:
    """Return the mean and largest difference of a chart before and after, with its profile used and without."""
    before = chart()
    wanted = lab(patches(before), space)
    found: dict[str, float] = {}
    for name, profile in (("used", space), ("ignored", None)):
        differences = ciede2000(wanted, lab(patches(restored(restorer, before, profile).image), space))
        found |= {name: float(differences.mean()), f"{name}, largest": float(differences.max())}
    return found


def measure_portrait(restorer: Restorer, space: bytes) -> dict[str, float]:
    """Return how far a portrait in a space comes out from where it does in sRGB, with its profile used and without.

    Only pixels count that a network has made.
    """
    from restorer.evaluation.ageing import age, photograph

    colours = profiles.colours_of(space)
    plain = np.rint(age(photograph()) * 257.0).astype(np.uint16)
    own = plain if colours is None else np.rint(colours.own(plain / 65535.0) * 65535).astype(np.uint16)
    wanted = restored(restorer, plain, None)
    made = np.full(wanted.image.shape[:2], True) if wanted.changed is None else wanted.changed > 0
    found = {}
    for name, profile in (("used", space), ("ignored", None)):
        result = restored(restorer, own, profile).image
        seen = result / 65535.0 if colours is None else colours.seen(result)
        pair = (lab(picture[made], color.srgb_profile()) for picture in (wanted.image / 65535.0, seen))
        found[name] = float(ciede2000(*pair).mean())
    return found


def outside(space: bytes) -> float:
    """Return the share of the chart's colours that sRGB does not hold."""
    colours = profiles.colours_of(space)
    if colours is None:
        return 0.0
    own = patches(chart())
    rest = colours.rest(own, colours.seen(own))
    return 0.0 if rest is None else float((rest != 0).any(axis=1).mean())


def paths(models: list[str], upscalers: list[str]) -> Iterator[tuple[str, Restorer, Restorer]]:
    """Yield a name, what a chart goes through, and what a portrait goes through."""
    from restorer.pipeline.restorer import Restorer

    for name in models:
        aligned = Restorer(name, background="lanczos", offline=True, scale=1, aligned=True)
        yield name, aligned, Restorer(name, background="lanczos", offline=True, scale=1)
    for name in upscalers:
        restorer = Restorer("none", background=name, scale=2, offline=True)
        yield name, restorer, restorer


def main(arguments: list[str]) -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m restorer.bench colour", description=__doc__)
    parser.add_argument("--model", action="append", help="face restorer, as often as wanted (default tiny)")
    parser.add_argument("--background", action="append", help="upscaler, likewise (default tiny-upscaler)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args(arguments)
    rows: list[dict[str, Any]] = []
    for name, flat, whole in paths(options.model or ["tiny"], options.background or ["tiny-upscaler"]):
        for title, make in SPACES.items():
            space = make()
            row: dict[str, Any] = {"through": name, "space": title, "outside of sRGB": outside(space)}
            row |= {"chart": measure_chart(flat, space), "portrait": measure_portrait(whole, space)}
            rows.append(row)
            if not options.json:
                used, ignored = (
                    f"chart {row['chart'][key]:.2f} (largest {row['chart'][key + ', largest']:.2f}), "
                    f"portrait {row['portrait'][key]:.2f}"
                    for key in ("used", "ignored")
                )
                print(f"{name}, {title}, {row['outside of sRGB']:.0%} of the chart outside of sRGB:")
                print(f"    profile used: {used}; ignored: {ignored}")
    if options.json:
        print(json.dumps(rows))
    return 0
