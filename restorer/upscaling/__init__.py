"""The picture as a whole: enlarged by Lanczos resampling, or by a network in tiles."""
