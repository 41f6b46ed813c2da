"""Beginning a finder of damage with the weights of a smaller one: it finds at first what that one finds."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from restorer.errors import UsageError
from restorer.networks.damageunet import LINES, DamageUNet
from restorer.training.averaging import FIRST, averaged


@torch.no_grad()
def begin_with(network: DamageUNet, state: Mapping[str, Tensor], pictures: Tensor) -> None:
    """Give a network with normalisation the weights of one without, which may lack blocks and the planes about lines.

    What the other has not got begins without effect: blocks with a norm of weight 0, planes with weights of 0. Norms
    take the means and deviations that the features have on the pictures, and undo them.

    Args:
        network: what is to learn on, with normalisation; its levels are as wide as the other's.
        state: the other's weights, by their names.
        pictures: some that are like those to come, (n, 3, h, w) in [-1, 1].

    Raises:
        UsageError: the weights are of another network.
    """
    own = network.state_dict()
    for key, value in state.items():
        wanted = own.get(key)
        if key == FIRST and wanted is not None and value.shape[1] == wanted.shape[1] - LINES:
            wanted.zero_()
            wanted[:, :-LINES] = value
        elif wanted is not None and wanted.shape == value.shape:
            wanted.copy_(value)
        else:
            raise UsageError(f"The weights to begin with have {key!r} of another size, or too many of them.")
    missing = [key for key in own if key not in state and ".norm." not in key and not _of_block(key)]
    if missing:
        raise UsageError(f"The weights to begin with have no {missing[0]!r}.")
    blocks = {path.removesuffix(".norm"): part for path, part in network.named_modules() if path.endswith(".norm")}
    seen: dict[str, Tensor] = {}
    hooks = []
    for path, norm in blocks.items():
        assert isinstance(norm, nn.BatchNorm2d)
        _set(norm, torch.zeros(norm.num_features), torch.ones(norm.num_features), f"{path}.second.weight" in state)
        hooks.append(network.get_submodule(f"{path}.second").register_forward_hook(_Keeper(seen, path)))
    training = network.training
    network.eval()(pictures)
    network.train(training)
    for hook in hooks:
        hook.remove()
    for path, norm in blocks.items():
        assert isinstance(norm, nn.BatchNorm2d)
        values = seen[path].float()
        variance = values.var((0, 2, 3), unbiased=False)
        _set(norm, values.mean((0, 2, 3)), variance, f"{path}.second.weight" in state)


def mixed(learnt: Mapping[str, Tensor], state: Mapping[str, Tensor], keeps: float) -> dict[str, Tensor]:
    """Return weights between those that a network began with and those that it learnt, tensor by tensor.

    What it learnt of drawn damage it partly loses of true damage; in between it has most of both (WiSE-FT; Wortsman et
    al. 2022, section 3).

    Args:
        learnt: a network's weights without norms, by their names.
        state: what it began with, as `begin_with` takes it: blocks and planes that it lacks began without effect.
        keeps: share of `state`, 0 to 1.
    """
    mean = averaged([learnt, state], [1 - keeps, keeps])
    return {key: value.to(learnt[key].dtype) for key, value in mean.items()}


def _of_block(key: str) -> bool:
    return key.split(".")[0] in ("down", "up")


class _Keeper:
    """Keeps what a layer returns."""

    def __init__(self, seen: dict[str, Tensor], path: str) -> None:
        self._seen, self._path = seen, path

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self._seen[self._path] = output


def _set(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, undone: bool) -> None:
    """Give a norm its statistics; it returns what it is given, or nothing."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
    norm.weight.copy_((variance + norm.eps).sqrt() if undone else torch.zeros_like(variance))
    norm.bias.copy_(mean if undone else torch.zeros_like(mean))
