"""Tests of `restorer.report`."""
