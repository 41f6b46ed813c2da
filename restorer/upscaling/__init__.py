"""What happens to the picture as a whole? Enlarged by Lanczos resampling, or by a network in tiles."""
