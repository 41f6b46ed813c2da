"""How good is it? Restorers measured on pictures whose truth is known."""
