"""The reference checkpoints of each scale, and how they are read."""
