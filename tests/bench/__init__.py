"""Tests of `restorer.bench`."""
