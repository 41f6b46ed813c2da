"""Tests of `restorer.models`."""
