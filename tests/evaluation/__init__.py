"""Tests of `restorer.evaluation`."""
