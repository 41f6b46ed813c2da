"""Tests of `restorer.photo`."""
