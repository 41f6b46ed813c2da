"""Tests that need basicsr, whose measures `restore evaluate` uses, skip where it cannot be installed."""

from __future__ import annotations

import pytest

from restorer.evaluation import basicsr_compat

needs_basicsr = pytest.mark.skipif(
    basicsr_compat.folders() is None, reason="basicsr is not installed; under Python 3.13 and later it cannot be"
)
