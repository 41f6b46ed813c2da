"""What happens to the picture as a whole? Enlarged by Lanczos resampling, or by a network in tiles."""

from restorer.upscaling.lanczos import Background, Lanczos

RESAMPLERS: dict[str, type[Background]] = {Lanczos.name: Lanczos}
"""Upscalers that need no weights, by name."""
