"""How does a network run here? Device, precision, memory, second chances, and the pool of loaded networks."""
