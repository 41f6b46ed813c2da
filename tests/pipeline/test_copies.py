"""Restorers in other processes and in copies: pickled, copied, forked."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from restorer import Restorer
from restorer.engine import device as devices
from restorer.engine.device import Device, start_after_fork
from restorer.errors import DeviceUnavailableError
from tests.support.parts import Detector, Everything, Identity, face_at

ROOT = Path(__file__).parents[2]
RGB = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, lambda run: pickle.loads(pickle.dumps(run))])  # noqa: S301
def test_a_copy_does_the_same(how: Any) -> None:
    found = Detector([face_at((30, 30), 12)])
    run = Restorer(Identity(64), detector=found, mask=Everything(), scale=2, background="lanczos", device="cpu")
    before = run.restore(RGB)
    other = how(run)
    assert other.options == run.options
    assert other.components is not run.components
    after = other.restore(RGB)
    assert np.array_equal(after.image, before.image)
    assert after.note == before.note
    assert repr(other) == repr(run)


def test_a_copy_shares_the_networks_and_weighs_nothing() -> None:
    run = Restorer("tiny", scale=1, device="cpu", offline=True)
    run.restore(RGB)
    assert len(pickle.dumps(run)) < 2000
    other = copy.copy(run)
    assert other.components.detector().network is run.components.detector().network  # type: ignore[attr-defined]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing is forked here")
def test_a_forked_process_restores_as_its_parent_did() -> None:
    """Torch's and OpenCV's threads do not come along; who waited for them would wait for ever."""
    script = """
        import os, sys, threading
        import numpy as np
        import torch, cv2
        from restorer import Restorer
        from restorer.engine.pool import POOL

        torch.set_num_threads(2)
        cv2.setNumThreads(2)
        run = Restorer("tiny", scale=2, device="cpu", offline=True, min_score=0.0, max_faces=1)
        photo = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
        torch.rand(600, 600) @ torch.rand(600, 600)
        first = run.restore(photo)
        cv2.resize(np.zeros((2000, 2000, 3), np.uint8), (4000, 4000), interpolation=cv2.INTER_CUBIC)
        held = threading.Thread(target=lambda: (POOL._guard.acquire(), entered.set(), never.wait()), daemon=True)
        entered, never = threading.Event(), threading.Event()
        held.start()
        entered.wait()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                cv2.resize(np.zeros((2000, 2000, 3), np.uint8), (4000, 4000), interpolation=cv2.INTER_CUBIC)
                again = run.restore(photo)
                same = np.abs(again.image.astype(int) - first.image).max() <= 1
                code = 0 if same and torch.get_num_threads() == 1 else 2
            finally:
                os._exit(code)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script)],
        capture_output=True, text=True, check=False, timeout=300, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stdout.strip() == "0", done.stdout + done.stderr


def test_a_fork_of_a_process_that_uses_a_gpu_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Restorer("none", background="lanczos", device="cpu")
    run.components._device = Device("cuda:0", "fp32")
    monkeypatch.setattr("os.getpid", lambda: -1)
    with pytest.raises(DeviceUnavailableError, match="fork cannot use that") as error:
        run.restore(RGB)
    assert "spawn" in str(error.value.remedy)


def test_nothing_is_changed_where_nothing_was_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_threads", [])
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    start_after_fork(None)
    assert devices._threads == [1]
    assert "torch" not in sys.modules
