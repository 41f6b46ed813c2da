"""What is this checkpoint, what does its network take and give? One file an architecture, and their registry."""
