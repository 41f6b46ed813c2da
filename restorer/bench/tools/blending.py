"""Ways to steer a trained restorer between the face that it sees and what it knows of faces, without training it anew.

Each blends what the prior is told of a face (latents, conditions, an encoder's features) with what it would be told of
another picture: 1 = what it is told of the photo's face, as it was trained; 0 = what it is told of the other one.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

CONDITIONS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "lightglean": {"features": ("trunk",)},
    "glean": {"features": ("trunk", "down.*"), "latents": ("to_latents",)},
    "gfpgan": {"conditions": ("scale.*", "shift.*"), "latents": ("to_latents",)},
    "gfpgan-original": {"conditions": ("scale.*", "shift.*"), "latents": ("to_latents",)},
    "gpen": {"features": ("first", "down.*"), "latents": ("mapping",)},
    "restoreformer": {"features": ("encoder",)},
    "restoreformer++": {"features": ("encoder",)},
}
"""By architecture what tells the prior of a face: modules by their paths, `*` for one number."""


Run = Callable[[Tensor, Sequence[float]], list[Tensor]]


@dataclass(frozen=True)
class Way:
    """A way to steer.

    Attributes:
        name: in tables.
        run: maps pictures (1, 3, s, s) and shares from 0 to 1 to an answer (1, 3, t, t) for each share.
    """

    name: str
    run: Run


class Blender:
    """Blends what some modules of a network give with what they gave for other pictures.

    Args:
        network: in eval mode; a module may run several times for a picture.
        patterns: paths of the modules.
    """

    def __init__(self, network: nn.Module, patterns: Sequence[str]) -> None:
        self.network = network
        self._share: float | None = None
        self._kept: list[Any] = []
        self._given: list[Any] = []
        found = [part for path, part in network.named_modules() if any(_fits(path, each) for each in patterns)]
        if not found:
            raise ValueError(f"The network has none of {', '.join(patterns)}.")
        for part in found:
            part.register_forward_hook(self._hook)

    def told(self, pictures: Tensor) -> tuple[Tensor, list[Any]]:
        """Return the network's answer, and what the modules gave on the way, call by call."""
        self._kept = []
        answer: Tensor = self.network(pictures)
        kept, self._kept = self._kept, []
        return answer, kept

    def blended(self, pictures: Tensor, other: Sequence[Any], share: float) -> Tensor:
        """Return the network's answer to pictures, with so much of its own and the rest of what was `told` it else."""
        self._share, self._given = share, list(other)
        try:
            answer: Tensor = self.network(pictures)
        finally:
            self._share = None
        return answer

    def _hook(self, _part: nn.Module, _inputs: Any, output: Any) -> Any:
        if self._share is None:
            self._kept.append(_copied(output))
            return None
        return _between(self._given.pop(0), output, self._share)


def ways(network: nn.Module, architecture: str, average_of: Sequence[Tensor]) -> list[Way]:
    """Return all ways to steer a network; none where it is not known what tells its prior of a face.

    Args:
        network: in eval mode.
        architecture: its name.
        average_of: faces (1, 3, s, s), of which the mean one is told.
    """
    found = []
    for name, patterns in CONDITIONS.get(architecture, {}).items():
        blender = Blender(network, patterns)
        found.append(Way(f"{name}, own", _towards_own(blender)))
        found.append(Way(f"{name}, mean", _towards_mean(blender, average_of)))
    if found:
        found.append(Way("picture, own", _picture(network)))
    return found


def _towards_own(blender: Blender) -> Run:
    """Blend towards what is told of the restored face itself: a second look at what it looks like."""

    def run(pictures: Tensor, shares: Sequence[float]) -> list[Tensor]:
        answer, _ = blender.told(pictures)
        _, other = blender.told(answer.clamp(-1, 1))
        return [blender.blended(pictures, other, share) for share in shares]

    return run


def _towards_mean(blender: Blender, average_of: Sequence[Tensor]) -> Run:
    """Blend towards the mean of what is told of several faces."""
    known: list[Any] = []

    def run(pictures: Tensor, shares: Sequence[float]) -> list[Tensor]:
        if not known:
            every = [blender.told(each)[1] for each in average_of]
            known.extend(_mean(calls) for calls in zip(*every, strict=True))
        return [blender.blended(pictures, known, share) for share in shares]

    return run


def _picture(network: nn.Module) -> Run:
    """Blend the picture that goes in with its restored version, and restore that."""

    def run(pictures: Tensor, shares: Sequence[float]) -> list[Tensor]:
        restored = network(pictures).clamp(-1, 1)
        return [network(torch.lerp(restored, pictures, share)) for share in shares]

    return run


def _fits(path: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(path, pattern) and path.count(".") == pattern.count(".")


def _copied(given: Any) -> Any:
    return given.clone() if isinstance(given, Tensor) else tuple(_copied(each) for each in given)


def _between(one: Any, other: Any, share: float) -> Any:
    if isinstance(other, Tensor):
        return torch.lerp(one, other, share)
    return tuple(_between(*pair, share) for pair in zip(one, other, strict=True))


def _mean(given: Sequence[Any]) -> Any:
    if isinstance(given[0], Tensor):
        return torch.stack(list(given)).mean(0)
    return tuple(_mean(each) for each in zip(*given, strict=True))
