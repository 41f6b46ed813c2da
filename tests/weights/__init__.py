"""Tests of `restorer.weights`."""
