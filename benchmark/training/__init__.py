"""How models learn: pages and labels, the loop, and what helps a model to learn to read."""
