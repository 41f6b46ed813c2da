"""Faces: detect, align, mask, paste, compare. Geometry that knows no network but detector, parser and recogniser."""

ARCHITECTURE_MODULES = ("retinaface", "parsing", "tinydetector", "likeness")
"""The modules here that register architectures; the others are geometry and need not be imported to list models."""
