"""What happens to arrays? Pure functions: luma, resampling, warps, boxes, sheets; no files, no networks."""
