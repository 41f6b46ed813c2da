"""Where are the faces, and how do they go back? Detect, select, align, mask, paste, tone, compare."""
