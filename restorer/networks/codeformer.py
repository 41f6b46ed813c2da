"""CodeFormer: a transformer tells which entries of a codebook a face is made of; a generator draws them.

Zhou et al., "Towards Robust Blind Face Restoration with Codebook Lookup Transformer" (2022). Encoder and generator are
VQGAN's, except that nothing stands between their last norm and their last convolution.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restorer.networks.fused import LeakyPair
from restorer.networks.pieces import SIDE, adapted, check_faces
from restorer.networks.vqgan import (
    Attention,
    Downsample,
    ResBlock,
    Upsample,
    empty_codebook,
    entries,
    group_norm,
)

WIDTHS = (64, 128, 128, 256, 256, 512)
"""Channels at each level; each is half as large as the one before."""
BLOCKS = 2
CODE_WIDTH = 256
GRID = SIDE >> (len(WIDTHS) - 1)
"""Side of the grid of codes: 16."""
FUSED = tuple(str(SIDE >> level) for level in range(1, 5))
"""Sides of the features of the encoder that may be blended into the generator's: those between 256 and 32."""


def _encoder() -> nn.Sequential:
    """Return the layers that map (n, 3, 512, 512) to (n, 256, 16, 16); attention is at the smallest level only."""
    layers: list[nn.Module] = [nn.Conv2d(3, WIDTHS[0], 3, padding=1)]
    before = WIDTHS[0]
    for level, width in enumerate(WIDTHS):
        smallest = level == len(WIDTHS) - 1
        for _ in range(BLOCKS):
            layers.append(ResBlock(before, width))
            layers += [Attention(width)] if smallest else []
            before = width
        layers += [] if smallest else [Downsample(width)]
    layers += [ResBlock(before, before), Attention(before), ResBlock(before, before)]
    layers += [group_norm(before), nn.Conv2d(before, CODE_WIDTH, 3, padding=1)]
    return nn.Sequential(*layers)


def _generator() -> nn.Sequential:
    """Return the layers that map (n, 256, 16, 16) to (n, 3, 512, 512)."""
    before = WIDTHS[-1]
    layers: list[nn.Module] = [nn.Conv2d(CODE_WIDTH, before, 3, padding=1)]
    layers += [ResBlock(before, before), Attention(before), ResBlock(before, before)]
    for level, width in reversed(list(enumerate(WIDTHS))):
        for _ in range(BLOCKS):
            layers.append(ResBlock(before, width))
            layers += [Attention(width)] if level == len(WIDTHS) - 1 else []
            before = width
        layers += [Upsample(width)] if level else []
    layers += [group_norm(before), nn.Conv2d(before, 3, 3, padding=1)]
    return nn.Sequential(*layers)


class TransformerLayer(nn.Module):
    """Attention over all tokens, then two linear layers, each with a norm in front and added to its input.

    Args:
        width: of a token.
        heads: of the attention.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.self_attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm2 = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, 2 * width)
        self.linear2 = nn.Linear(2 * width, width)

    def forward(self, tokens: Tensor, position: Tensor) -> Tensor:
        """Map (n, tokens, width) to the same shape; queries and keys know their position (tokens, width)."""
        normed = self.norm1(tokens)
        asking = normed + position
        tokens = tokens + self.self_attn(asking, asking, normed, need_weights=False)[0]
        total: Tensor = tokens + self.linear2(F.gelu(self.linear1(self.norm2(tokens))))
        return total


class Fusion(nn.Module):
    """Blends a feature of the encoder into the generator's of the same shape.

    Args:
        channels: of both.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.encode_enc = ResBlock(2 * channels, channels)
        self.scale = _pair(channels)
        self.shift = _pair(channels)

    def forward(self, generated: Tensor, encoded: Tensor, fidelity: float | Tensor) -> Tensor:
        """Map two features (n, channels, h, w) to one of that shape; `fidelity` is how much of the second counts."""
        both = self.encode_enc(torch.cat([encoded, generated], 1))
        scale: Tensor = self.scale(both)
        shift: Tensor = self.shift(both)
        if torch.is_grad_enabled():
            return generated + fidelity * (generated * scale + shift)
        return scale.mul_(generated).add_(shift).mul_(fidelity).add_(generated)  # the same, in the room of one


def _pair(channels: int) -> LeakyPair:
    return LeakyPair(
        nn.Conv2d(channels, channels, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(channels, channels, 3, padding=1)
    )


class CodeFormer(nn.Module):
    """Restores aligned faces: (n, 3, 512, 512) in [-1, 1] to the same shape, not clamped. Nothing in it is random.

    Args:
        dim_embd: width of the transformer's tokens.
        n_head: of its attentions.
        n_layers: its depth.
        codebook_size: number of entries.
        connect_list: sides of the features by which the encoder can influence the generator, of `FUSED`.
        adain: whether the codes' features take over the mean and deviation of the encoder's, and with them the
            colours of the input.
        w: the fidelity when none is given.
    """

    def __init__(
        self,
        dim_embd: int = 512,
        n_head: int = 8,
        n_layers: int = 9,
        codebook_size: int = 1024,
        connect_list: Sequence[str] = FUSED,
        adain: bool = True,
        w: float = 0.5,
    ) -> None:
        super().__init__()
        if unknown := set(connect_list) - set(FUSED):
            raise ValueError(f"There are no features of {', '.join(sorted(unknown))} px; there are {', '.join(FUSED)}.")
        self.adain = adain
        self.fidelity = w
        self.encoder = _encoder()
        self.feat_emb = nn.Linear(CODE_WIDTH, dim_embd)
        self.position_emb = nn.Parameter(torch.zeros(GRID * GRID, dim_embd))
        self.layers = nn.ModuleList(TransformerLayer(dim_embd, n_head) for _ in range(n_layers))
        self.code_norm = nn.LayerNorm(dim_embd)
        self.code_head = nn.Linear(dim_embd, codebook_size, bias=False)
        self.codebook = empty_codebook(codebook_size, CODE_WIDTH)
        self.generator = _generator()
        # The last block of an encoder's level goes into the first of the generator's level of the same side.
        self._kept = _places(self.encoder, last=True)
        self._fused = {place: side for side, place in _places(self.generator, last=False).items()}
        widths = dict(zip([str(SIDE >> level) for level in range(len(WIDTHS))], WIDTHS, strict=True))
        self.fuse = nn.ModuleDict({side: Fusion(widths[side]) for side in connect_list})

    def forward(self, faces: Tensor, fidelity: float | Tensor | None = None) -> Tensor:
        """Return restored faces (n, 3, 512, 512) of faces of that shape in [-1, 1].

        Args:
            faces: RGB in [-1, 1].
            fidelity: how much the encoder's features count beside the codes, upstream's w: 0 = as good as the codebook
                can draw, 1 = close to the input; None = the network's own. A tensor () is never asked whether it is
                0, so that an exported network can be given any.

        Raises:
            ValueError: the faces are of another shape.
        """
        code, features = self._encode(faces)
        drawn = entries(self._predict(code), self.codebook)
        if self.adain:
            drawn = adapted(drawn, code)
        weight = self.fidelity if fidelity is None else fidelity
        blends = isinstance(weight, Tensor) or weight != 0
        x = drawn
        for place, layer in enumerate(self.generator):
            x = layer(x)
            side = self._fused.get(place)
            if blends and side is not None and side in self.fuse:
                x = self.fuse[side](x, features[side], weight)
        return x

    def codes(self, faces: Tensor) -> Tensor:
        """Return the codebook entries (n, 256), row by row, that faces (n, 3, 512, 512) in [-1, 1] are drawn from."""
        return self._predict(self._encode(faces)[0]).flatten(1)

    def _encode(self, faces: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the encoder's output (n, 256, 16, 16), and its features by their side."""
        check_faces(faces)
        places = {place: side for side, place in self._kept.items()}
        features = {}
        x = faces
        for place, layer in enumerate(self.encoder):
            x = layer(x)
            if place in places:
                features[places[place]] = x
        return x, features

    def _predict(self, code: Tensor) -> Tensor:
        """Return which entry of the codebook each place of the encoder's output stands for, (n, 16, 16)."""
        tokens = self.feat_emb(code.flatten(2).transpose(1, 2))
        for layer in self.layers:
            tokens = layer(tokens, self.position_emb)
        codes: Tensor = self.code_head(self.code_norm(tokens)).argmax(-1)
        return codes.reshape(-1, GRID, GRID)


def _places(layers: nn.Sequential, *, last: bool) -> dict[str, int]:
    """Return the number of the first or last residual block at each side of `FUSED`."""
    found: dict[str, int] = {}
    side = SIDE if isinstance(layers[3], Downsample) else GRID
    for place, layer in enumerate(layers):
        if isinstance(layer, Downsample):
            side //= 2
        elif isinstance(layer, Upsample):
            side *= 2
        elif isinstance(layer, ResBlock) and str(side) in FUSED and (last or str(side) not in found):
            found[str(side)] = place
    return found
