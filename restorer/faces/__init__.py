"""Geometry of faces: detect, select, align, mask, paste, tone, compare."""
