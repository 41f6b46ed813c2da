"""Tests of restorer.engine."""
