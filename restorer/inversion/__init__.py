"""Which point of a prior looks like this? Searches through the pictures that a prior can draw: PULSE and mGANprior."""
