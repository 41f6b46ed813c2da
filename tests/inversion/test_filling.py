"""What is known of a photo, carried into the answers of mGANprior: brightness under colours, tones at a hole."""

from __future__ import annotations

from typing import Any

import torch

from restorer.inversion.course import Found
from restorer.inversion.mganprior_faces import _finished, _known
from restorer.inversion.operators import grey
from restorer.inversion.searcher import Wish

SIDE = 64


def finished(task: str, picture: torch.Tensor, target: torch.Tensor, hole: torch.Tensor | None = None) -> torch.Tensor:
    wish = Wish(torch.zeros(3, SIDE, SIDE), task, seeds=(0,), hole=hole)
    found: Any = _finished(Found(picture, 1.0, 1.0, None, None, 0, 1), wish, target)
    return torch.as_tensor(found.picture)


def test_a_hole_gets_the_tones_around_it() -> None:
    """An answer that is darker than the photo all over is as bright as the photo in the hole too, to its middle."""
    hole = torch.zeros(SIDE, SIDE)
    hole[20:40, 24:44] = 1
    truth = torch.linspace(-0.5, 0.5, SIDE).expand(3, SIDE, SIDE)
    known = _known(hole)
    filled = finished("inpaint", truth - 0.2, truth[None] * known, hole)
    assert (filled - truth).abs().max() < 0.03
    # One that is right already stays as it is.
    assert (finished("inpaint", truth, truth[None] * known, hole) - truth).abs().max() < 1e-6


def test_colours_lie_on_the_photos_brightness() -> None:
    picture = torch.rand(3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    target = torch.rand(1, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    coloured = finished("colorize", picture, target)
    assert (grey(coloured[None]) - target).abs().max() < 1e-5
    assert torch.allclose(coloured - coloured[:1], picture - picture[:1], atol=1e-5)
    assert torch.equal(finished("denoise", picture, target), picture)
