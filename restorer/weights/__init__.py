"""Weights: which there are, where they come from, and the only door through which they get in: verified and inert."""
