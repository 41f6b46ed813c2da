"""What is known of a photo, put into the answers of mGANprior: brightness, pixels, what stands out of noise."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from restorer.inversion.course import Found
from restorer.inversion.holding import WINDOW, cleaned, coloured, enlarged, filled, noise_of
from restorer.inversion.mganprior_faces import _finished, _known
from restorer.inversion.operators import Reduction, grey
from restorer.inversion.searcher import Wish

SIDE = 64


def normal(seed: int, channels: int = 3, side: int = SIDE) -> Tensor:
    return torch.randn(1, channels, side, side, generator=torch.Generator().manual_seed(seed))


def smooth_picture(seed: int) -> Tensor:
    """Return a picture of large soft shapes, (1, 3, SIDE, SIDE) in [-1, 1]."""
    coarse = normal(seed, side=6) * 0.4
    return torch.nn.functional.interpolate(coarse, (SIDE, SIDE), mode="bicubic").clamp(-1, 1)


def off(picture: Tensor, truth: Tensor) -> float:
    """Return the root mean square of a difference, in levels."""
    return 127.5 * float((picture - truth).square().mean().sqrt())


def finished(task: str, picture: Tensor, target: Tensor, hole: Tensor | None = None) -> Tensor:
    wish = Wish(torch.zeros(3, SIDE, SIDE), task, seeds=(0,), hole=hole)
    found: Any = _finished(Found(picture[0], 1.0, 1.0, None, None, 0, 1), wish, target)
    return torch.as_tensor(found.picture)[None]


def test_each_task_holds_what_it_knows() -> None:
    answer, truth = smooth_picture(1), smooth_picture(2)
    hole = torch.zeros(SIDE, SIDE)
    hole[20:40, 24:44] = 1
    known = _known(hole)
    assert torch.equal(finished("colorize", answer, grey(truth)), coloured(answer, grey(truth)))
    assert torch.equal(finished("inpaint", answer, truth * known, hole), filled(answer, truth * known, known))
    assert torch.equal(finished("denoise", answer, truth), cleaned(answer, truth))
    small = Reduction(SIDE, 16)(truth)
    assert torch.equal(finished("super-resolution", answer, small), enlarged(answer, small, Reduction(SIDE, 16)))
    assert torch.equal(finished("reconstruct", answer, truth), answer)


# ------------------------------------------------------------------------------------------------------------ holes


def test_a_hole_gets_the_tones_around_it() -> None:
    """An answer that is darker than the photo all over is as bright as the photo in the hole too, to its middle."""
    hole = torch.zeros(SIDE, SIDE)
    hole[20:40, 24:44] = 1
    truth = torch.linspace(-0.5, 0.5, SIDE).expand(1, 3, SIDE, SIDE)
    known = _known(hole)
    result = filled(truth - 0.2, truth * known, known)
    assert (result - truth).abs().max() < 0.03
    assert ((result - truth) * known).abs().max() < 1e-6  # nothing that is known has changed
    # One that is right already stays as it is.
    assert (filled(truth, truth * known, known) - truth).abs().max() < 1e-6


# ---------------------------------------------------------------------------------------------------------- colours


def test_colours_lie_on_the_photos_brightness() -> None:
    target = smooth_picture(1)[:, :1]
    assert (grey(coloured(smooth_picture(2), target)) - target).abs().max() < 1e-5


def test_colours_end_where_the_photo_has_an_edge() -> None:
    """The answer's red face ends three pixels beside the photo's: its red ends with the photo's."""
    side = 2 * SIDE
    photo, answer = torch.full((1, 1, side, side), -0.6), torch.zeros(1, 3, side, side)
    photo[..., :60] = 0.6
    answer[:, 0, :, :63] = 0.3
    plain, result, even = (
        (picture[:, 0] - picture[:, 1])[0, side // 2]
        for picture in (photo + answer - grey(answer), coloured(answer, photo), coloured(answer, photo * 0))
    )
    assert plain[61] == pytest.approx(0.3)
    assert result[61] < 0.6 * plain[61]
    assert result[40] > 0.25
    # Where the photo has no edge, an edge of the colours is soft.
    assert even.diff().abs().max() < 0.1


# ------------------------------------------------------------------------------------------------------------- size


@pytest.mark.parametrize("side", [SIDE, 50, 16, 7])
def test_what_makes_a_small_picture_is_found(side: int) -> None:
    seen, small = Reduction(SIDE, side), normal(3, side=side)
    assert (seen(seen.undone(small)) - small).abs().max() < 1e-4


def test_an_answer_near_the_photo_gives_its_detail_and_another_none() -> None:
    seen, truth = Reduction(SIDE, 16), smooth_picture(4) * 0.5 + 0.1 * normal(5)
    small = seen(truth)
    plain = torch.nn.functional.interpolate(small, (SIDE, SIDE), mode="bicubic")
    near = enlarged(truth + 0.01, small, seen)
    assert off(near, truth) < 0.1 * off(plain, truth)
    other = enlarged(0.1 * normal(6) - smooth_picture(4) + 0.8, small, seen)
    assert off(other, plain) < 0.1 * off(plain, truth)


# ------------------------------------------------------------------------------------------------------------ noise


@pytest.mark.parametrize("levels", [5, 20])
def test_noise_is_measured(levels: float) -> None:
    noisy = smooth_picture(7).repeat(1, 1, 2, 2) * 0.5 + levels / 127.5 * normal(8, side=2 * SIDE)
    found = 127.5 * noise_of(noisy)
    assert found.shape == (3, WINDOW, WINDOW)
    assert found[:, 7, 7] == pytest.approx(torch.full((3,), float(levels)), rel=0.25)
    assert found[:, 2, 2] == pytest.approx(torch.full((3,), float(levels)), rel=0.5)
    assert noise_of(normal(1, side=8)).max() == 0  # too small to be measured


def test_noise_goes_and_the_photo_stays() -> None:
    """Whatever the answer: one that is somebody else is not heard, a right one is better than none."""
    truth = smooth_picture(9)
    noisy = truth + 20 / 127.5 * normal(10)
    flat = noisy.mean((2, 3), keepdim=True).expand_as(noisy)
    without, right = (off(cleaned(each, noisy), truth) for each in (flat, truth))
    another = off(cleaned(smooth_picture(11), noisy), truth)
    assert without < 10
    assert right < 0.6 * without
    assert another < 1.3 * without
    # What stands out of the noise is kept, though the answer has nothing there.
    spot = truth.clone()
    spot[..., 30:34, 30:34] = 1
    shown = cleaned(truth, spot + 10 / 127.5 * normal(12))[..., 30:34, 30:34]
    assert shown.mean() > 0.85


def test_a_clean_picture_stays_as_it_is() -> None:
    truth = smooth_picture(13)
    assert off(cleaned(smooth_picture(14), truth), truth) < 2
