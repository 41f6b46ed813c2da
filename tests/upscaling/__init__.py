"""Tests of `restorer.upscaling`."""
