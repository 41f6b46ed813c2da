"""Tests of `restorer.networks`."""
