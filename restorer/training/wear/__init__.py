"""What time, cameras, presses and scanners do to a photograph, each a pure function, and the mixture of them all."""
