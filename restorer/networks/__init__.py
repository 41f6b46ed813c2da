"""What is the arithmetic? Torch modules only: no files, no photos, no command."""
