"""Measurements that a maintainer repeats: `python -m restorer.bench NAME`."""
