"""basicsr's modules load through the one compatibility file, and leave no trace behind."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from restorer.evaluation.basicsr_compat import import_basicsr
from tests.support.basicsr import needs_basicsr

pytestmark = needs_basicsr


def test_modules_load_once_and_leave_no_trace() -> None:
    before = {name for name in sys.modules if name.split(".")[0] == "basicsr"}
    network = import_basicsr("basicsr.archs.rrdbnet_arch").RRDBNet(3, 3, num_feat=8, num_block=1, num_grow_ch=4)
    assert sum(parameter.numel() for parameter in network.parameters()) > 0
    assert import_basicsr("basicsr.archs.rrdbnet_arch") is import_basicsr("basicsr.archs.rrdbnet_arch")
    # this one cannot be imported without the stand-in for torchvision's module
    assert import_basicsr("basicsr.data.degradations").random_add_gaussian_noise
    assert {name for name in sys.modules if name.split(".")[0] == "basicsr"} == before
    assert "torchvision.transforms.functional_tensor" not in sys.modules


def test_niqe_tells_noise_from_structure() -> None:
    niqe = import_basicsr("basicsr.metrics.niqe").calculate_niqe
    noise = np.random.default_rng(0).integers(0, 256, (192, 192, 3)).astype(np.uint8)
    assert niqe(noise, 0) > 10


def test_only_single_modules_are_accepted() -> None:
    with pytest.raises(ValueError, match="no single module"):
        import_basicsr("basicsr.archs")
    with pytest.raises(ValueError, match="no single module"):
        import_basicsr("numpy.linalg")
    with pytest.raises(ModuleNotFoundError):
        import_basicsr("basicsr.archs.nothing_arch")
