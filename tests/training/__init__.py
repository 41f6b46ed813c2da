"""Tests of `restorer.training`."""
