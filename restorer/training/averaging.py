"""The mean of several finders of damage, tensor by tensor.

What a finder learns of drawn damage costs it true damage; between an earlier one and a later one lies most of both.

    python -m restorer.training.averaging OUT.safetensors FILE=SHARE FILE=SHARE ...

Files are those of `restore train`; shares are of one. What comes of it has the largest one's size.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from restorer.errors import UsageError
from restorer.models import REGISTRY
from restorer.storage.digest import sha256_of
from restorer.weights.native_file import FileHeader, read, write

FIRST = "stem.0.weight"
"""The tensor that has more planes in a network that is shown lines."""


def averaged(states: Sequence[Mapping[str, Tensor]], shares: Sequence[float]) -> dict[str, Tensor]:
    """Return the weighted mean of weights, in float32 (model soups; Wortsman et al. 2022).

    Blocks and planes that a smaller network lacks count as blocks that do nothing and planes of which nothing is made,
    as `growing.begin_with` begins them: a block's last convolution is 0, the first is that of those that have it.

    Args:
        states: networks' weights without norms, by their names; the first has all that there are.
        shares: how much each counts, of a sum of 1.

    Raises:
        UsageError: the shares have another sum, or a tensor another size.
    """
    if len(states) != len(shares) or not math.isclose(sum(shares), 1, abs_tol=1e-6) or min(shares) < 0:
        raise UsageError(f"Shares of {', '.join(map(str, shares))} do not make one.")
    result = {}
    for key, like in states[0].items():
        # A block's last convolution says how much the block does: where it is missing, nothing.
        counting = [
            share if key in state or ".second." in key else 0 for state, share in zip(states, shares, strict=True)
        ]
        whole = sum(counting)
        result[key] = torch.zeros(like.shape) if whole else like.float()
        for state, share in zip(states, counting, strict=True):
            if key not in state or not share:
                continue
            value, into = state[key].float(), result[key]
            if key == FIRST and value.shape[1] < like.shape[1]:
                into = into[:, : value.shape[1]]
            if value.shape != into.shape:
                raise UsageError(f"{key!r} has another size in the networks that are to be averaged.")
            into += share / whole * value
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the mean of the files."""
    from safetensors.torch import load_file

    parser = argparse.ArgumentParser(
        prog="python -m restorer.training.averaging", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("out", type=Path, help="the file that is written")
    parser.add_argument("parts", nargs="+", metavar="FILE=SHARE", help="a network's file, and how much it counts")
    options = parser.parse_args(arguments)
    files, shares = [], []
    for part in options.parts:
        file, _, share = part.rpartition("=")
        try:
            shares.append(float(share))
        except ValueError:
            parser.error(f"{part!r} is no FILE=SHARE")
        files.append(Path(file))
    states = [load_file(str(file)) for file in files]
    largest = max(range(len(states)), key=lambda number: sum(value.numel() for value in states[number].values()))
    about = read(files[largest])
    if about is None:
        raise UsageError(f"{files[largest]} does not say what network it is of.", "Give files of `restore train`.")
    order = [largest, *(number for number in range(len(states)) if number != largest)]
    mean = averaged([states[number] for number in order], [shares[number] for number in order])
    origin = " + ".join(f"{share:g} of {sha256_of(file)[:12]}" for file, share in zip(files, shares, strict=True))
    said = REGISTRY[about.architecture].infer({key: tuple(value.shape) for key, value in mean.items()})
    header = FileHeader(
        about.architecture, {**about.arguments, **said}, license=about.license, trained_for=about.trained_for,
        origin=f"mean: {origin}", tool=about.tool,
    )  # fmt: skip
    write({key: value.half() for key, value in mean.items()}, options.out, header)
    print(f"{options.out}  {sha256_of(options.out)}  {options.out.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    main()
