"""Measuring restorers on pictures whose truth is known."""
