"""Tests of `restorer.faces`."""
