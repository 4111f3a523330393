"""Donut models: how they are built, what they read and write, and how they are kept on disk."""
