"""LaMa, which fills holes of pictures."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from restorer.models.inpainters import InpaintingArchitecture

if TYPE_CHECKING:
    from torch import nn

    from restorer.models.base import StateDict

_PREFIX = re.compile(r"(?:.+\.)?generator\.model\.")
_NAMES = (
    (r"1\.ffc\.convl2l\.", "first."),
    (r"1\.bn_l\.", "first_norm."),
    (r"([234])\.ffc\.convl2l\.", r"down.\1.local."),
    (r"([234])\.ffc\.convl2g\.", r"down.\1.whole."),
    (r"([234])\.bn_l\.", r"down.\1.local_norm."),
    (r"([234])\.bn_g\.", r"down.\1.whole_norm."),
    (r"(\d+)\.conv([12])\.ffc\.convl2l\.", r"blocks.\1.\2.local_to_local."),
    (r"(\d+)\.conv([12])\.ffc\.convl2g\.", r"blocks.\1.\2.local_to_global."),
    (r"(\d+)\.conv([12])\.ffc\.convg2l\.", r"blocks.\1.\2.global_to_local."),
    (r"(\d+)\.conv([12])\.ffc\.convg2g\.conv1\.0\.", r"blocks.\1.\2.spectral.narrow."),
    (r"(\d+)\.conv([12])\.ffc\.convg2g\.conv1\.1\.", r"blocks.\1.\2.spectral.narrow_norm."),
    (r"(\d+)\.conv([12])\.ffc\.convg2g\.fu\.conv_layer\.", r"blocks.\1.\2.spectral.mix."),
    (r"(\d+)\.conv([12])\.ffc\.convg2g\.fu\.bn\.", r"blocks.\1.\2.spectral.mix_norm."),
    (r"(\d+)\.conv([12])\.ffc\.convg2g\.conv2\.", r"blocks.\1.\2.spectral.widen."),
    (r"(\d+)\.conv([12])\.bn_l\.", r"blocks.\1.\2.local_norm."),
    (r"(\d+)\.conv([12])\.bn_g\.", r"blocks.\1.\2.global_norm."),
    (r"(24|27|30)\.", r"up.\1.conv."),
    (r"(25|28|31)\.", r"up.\1.norm."),
    (r"34\.", "last."),
)
"""Upstream's names behind `generator.model.`, which are places in a row of layers, and ours."""
_ORDER = {"1": "first", "2": "second"}


class LaMaArchitecture(InpaintingArchitecture):
    """The big LaMa. Its spectra need fp32, and no exporter knows them."""

    name = "lama"
    unexportable = "its layers compute with spectra"

    def convert(self, state: StateDict, arguments: Mapping[str, Any]) -> StateDict:
        """Rename the generator's layers; discriminator, losses and the rest of a training stay behind."""
        renamed = {}
        for key, value in state.items():
            inner = _PREFIX.match(key)
            if inner is not None:
                renamed[_name(key[inner.end() :])] = value
        for key in [key for key in renamed if key.endswith("running_mean")]:  # a program need not count batches
            counted = key.replace("running_mean", "num_batches_tracked")
            renamed.setdefault(counted, renamed[key].new_zeros(1)[0].long())
        return renamed

    def build(self, arguments: Mapping[str, Any]) -> nn.Module:
        """Return the network."""
        from restorer.networks.lama import LaMa

        return LaMa()


def _name(upstream: str) -> str:
    """Return our name of a layer's tensor."""
    for pattern, name in _NAMES:
        match = re.match(pattern, upstream)
        if match is None:
            continue
        ours, rest = match.expand(name), upstream[match.end() :]
        kind, _, tail = ours.partition(".")
        place, _, tail = tail.partition(".")
        if kind == "down":
            return f"down.{int(place) - 2}.{tail}{rest}"
        if kind == "blocks":
            order, _, tail = tail.partition(".")
            return f"blocks.{int(place) - 5}.{_ORDER[order]}.{tail}{rest}"
        if kind == "up":
            return f"up.{(int(place) - 24) // 3}.{tail}{rest}"
        return ours + rest
    return upstream


ARCHITECTURES = (LaMaArchitecture(),)
