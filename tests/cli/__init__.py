"""Tests of `restorer.cli`."""
