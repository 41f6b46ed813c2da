"""What several tests use: stand-ins, helpers, readers of pages and screens."""
