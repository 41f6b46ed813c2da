"""Faces: detect, align, mask, paste. Geometry that knows no network but the detector and the parser."""

ARCHITECTURE_MODULES = ("retinaface", "parsing", "tinydetector")
"""The modules here that register architectures; the others are geometry and need not be imported to list models."""
