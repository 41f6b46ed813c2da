"""Which convolutions of a network are computed by fewer multiplications, as a pure function of what is known before.

Nothing here depends on a clock: the same network on the same kind of processor is computed in the same way in every
run. `python -m restorer.bench engines --direct` measures what the rules below say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from restorer.engine.hardware import hardware

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from restorer.networks.stylegan2 import StyledConv


@dataclass(frozen=True)
class Rule:
    """From how many channels in and out, and pixels of a picture, on Winograd's way was measured to be quicker."""

    inputs: int
    outputs: int
    pixels: int

    def holds(self, shape: tuple[int, ...]) -> bool:
        """Return whether weights (out, in, 3, 3) are of enough channels."""
        return shape[1] >= self.inputs and shape[0] >= self.outputs


RULES = {"AVX512": Rule(256, 128, 64 * 64), "AVX2": Rule(256, 128, 64 * 64)}
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
    from restorer.networks.winograd import Winograd, WinogradConv2d, transformed_bytes

    rule = RULES.get(instructions)
    if rule is None:
        return 0
    found = sorted(_suitable(network, rule), key=lambda each: transformed_bytes(each[2].weight.shape))
    left, count = BUDGET, 0
    for owner, name, part in found:
        left -= transformed_bytes(part.weight.shape)
        if left < 0:
            break
        quick = Winograd(part.weight, rule.pixels)
        if isinstance(part, StyledConv):
            part.quick = quick
        else:
            setattr(owner, name, WinogradConv2d(part, quick))
        count += 1
    return count


def described(network: nn.Module) -> dict[str, Any]:
    """Return, for a record, how a network's convolutions are computed: in how many layers otherwise than plainly.

    The bytes of Winograd's way are those of its transformed weights, which are made when a layer is first used.
    """
    from restorer.networks.fused import PackedConv2d
    from restorer.networks.winograd import Winograd

    parts = list(network.modules())
    quick = [each for each in (getattr(part, "quick", None) for part in parts) if isinstance(each, Winograd)]
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
