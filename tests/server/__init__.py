"""Tests of restorer.server."""
