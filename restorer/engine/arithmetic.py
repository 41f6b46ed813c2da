"""Which convolutions of a network are computed by fewer multiplications, as a pure function of what is known before.

Nothing here depends on a clock: the same network on the same kind of processor is computed in the same way in every
run. `python -m restorer.bench engines --direct` measures what the rules below say.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from restorer.engine.hardware import hardware

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import nn

    from restorer.networks.stylegan2 import StyledConv
    from restorer.networks.winograd import Winograd


@dataclass(frozen=True)
class Rule:
    """From how many channels in and out, pixels, and pairs of channels on it was measured to be quicker."""

    inputs: int
    outputs: int
    pixels: int
    pairs: int = 0

    def holds(self, shape: tuple[int, ...]) -> bool:
        """Return whether weights (out, in, 3, 3) are of enough channels."""
        return shape[1] >= self.inputs and shape[0] >= self.outputs and shape[0] * shape[1] >= self.pairs


RULES = {name: Rule(128, 128, 64 * 64, pairs=128 * 256) for name in ("AVX512", "AVX2")}
"""By the instructions that torch computes with; where nothing was measured, nothing is done."""
BUDGET = 256 << 20
"""Bytes of transformed weights that a network may keep. Those of the fewest channels come first: in networks of this
kind they stand where pixels are many, and save the most time for their bytes."""


def capability() -> str:
    """Return the instructions that torch computes matrix products with: "AVX2", "AVX512", or "DEFAULT" for others."""
    return hardware().instructions


def quicken(network: nn.Module, instructions: str) -> int:
    """Let a network in fp32 on a CPU compute by fewer multiplications where a rule says so; return how many layers do.

    Args:
        network: changed in place; its parameters stay the same ones.
        instructions: of the processor, as `capability` names them.
    """
    from restorer.networks.stylegan2 import StyledConv
    from restorer.networks.winograd import Winograd

    rule = RULES.get(instructions)
    if rule is None:
        return 0
    found: list[tuple[Winograd, Callable[[Winograd], None]]] = []
    for owner, name, part in _suitable(network, rule):
        quick = Winograd(part.weight, rule.pixels)
        if isinstance(part, StyledConv):
            found.append((quick, partial(setattr, part, "quick")))
        else:
            found.append((quick, partial(_replace, owner, name, part)))
    for owner in network.modules():
        for kept, key, weight in getattr(owner, "quick_weights", tuple)():
            if rule.holds(tuple(weight.shape)):
                found.append((Winograd(weight, rule.pixels), partial(kept.__setitem__, key)))
    left, count = BUDGET, 0
    for quick, put in sorted(found, key=lambda each: each[0].bytes):
        left -= quick.bytes
        if left < 0:
            break
        put(quick)
        count += 1
    return count


def _replace(owner: nn.Module, name: str, part: nn.Conv2d, quick: Winograd) -> None:
    """Put a convolution that takes the quicker way where it can in the place of a plain one."""
    from restorer.networks.winograd import WinogradConv2d

    setattr(owner, name, WinogradConv2d(part, quick))


def described(network: nn.Module) -> dict[str, Any]:
    """Return, for a record, how a network's convolutions are computed: in how many layers otherwise than plainly.

    The bytes of Winograd's way are those of its transformed weights, which are made when a layer is first used.
    """
    from restorer.networks.fused import PackedConv2d
    from restorer.networks.winograd import Winograd

    parts = list(network.modules())
    kept = [each for each in (getattr(part, "quick", None) for part in parts) if each is not None]
    each_of = (each.values() if isinstance(each, dict) else (each,) for each in kept)
    quick = [each for some in each_of for each in some if isinstance(each, Winograd)]
    packed = sum(isinstance(part, PackedConv2d) for part in parts)
    if quick:
        return {"convolutions": "winograd", "layers": len(quick), "bytes": sum(each.bytes for each in quick)}
    return {"convolutions": "packed", "layers": packed} if packed else {"convolutions": "direct"}


def _suitable(network: nn.Module, rule: Rule) -> Iterator[tuple[nn.Module, str, nn.Conv2d | StyledConv]]:
    """Yield the layers that the rule speaks of, each with the module that has it and its name there."""
    from torch import nn

    from restorer.networks.stylegan2 import StyledConv
    from restorer.networks.winograd import suits

    for owner in network.modules():
        for name, part in owner.named_children():
            side = getattr(part, "side", None)
            if side is not None and side**2 < rule.pixels:
                continue
            if isinstance(part, StyledConv):
                if part.upsample is None and part.noise == "add" and rule.holds(tuple(part.weight.shape)):
                    yield owner, name, part
            elif type(part) is nn.Conv2d and suits(part) and rule.holds(tuple(part.weight.shape)):
                yield owner, name, part
