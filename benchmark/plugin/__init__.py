"""Plugins: the hooks, how they are found, and what tells two apart."""
