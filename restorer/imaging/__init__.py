"""Pure functions on arrays: luma, resampling, warps, boxes, sheets. No files but what a caller saves, no networks."""
