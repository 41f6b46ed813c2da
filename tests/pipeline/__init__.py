"""Tests of `restorer.pipeline`."""
