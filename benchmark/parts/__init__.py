"""The three choices that make a strategy: a start, an objective, a constraint.

A part is a frozen dataclass: its fields are its options (``--set target=half``), its text describes it in the tables,
and torch is imported when it is called, not when it is named.
"""
