"""Tests of `restorer.batch`."""
