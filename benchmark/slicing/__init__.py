"""Structured pruning: what can be cut out of a Donut, which of it matters least, and how much a budget leaves."""
