"""The errors that a user caused or can mend, and how any error is told in a line."""


class UserError(Exception):
    """Wrong use, bad input or a broken plugin: printed as one line, without a traceback, exit code 2."""


class OutputError(UserError):
    """The output folder cannot be written: the run stops, instead of failing cell after cell."""


def first_line(error: Exception) -> str:
    """What a library says of an error without its details; its kind, if it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]
