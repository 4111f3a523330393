"""The errors that a user caused or can mend, and how any error is told in a line."""


class UserError(Exception):
    """Wrong use, bad input or a broken plugin: printed as one line, without a traceback, exit code 2."""


class OutputError(UserError):
    """The output folder cannot be written: the run stops, instead of failing cell after cell."""


def first_line(error: Exception) -> str:
    """What a library says of an error without its details; its kind, if it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]


class PartedError(UserError):
    """A process of a launch is gone: the run stops, instead of waiting for it."""


class SharedFailure(Exception):
    """What one process of a launch has raised, in a line: all of them raise it, and go on alike."""


def one_line(text: str) -> str:
    """A text in one line for a file or a terminal: what is not shown is escaped.

    That is what steers a terminal or turns its text around, and halves of surrogate pairs, as in odd paths.
    """
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in " ".join(text.split()))


def shown(value: object) -> str:
    """A value in a message: its text in one line, cut, or its type where it has none."""
    try:
        text = one_line(repr(value))
    except Exception:  # what a plugin writes may raise anything, and Python writes no number of thousands of digits
        text = f"a {type(value).__name__}"
    return f"{text:.60}"


def error_line(error: BaseException) -> str:
    """The kind of an error and what it says, in one line (`one_line`)."""
    try:
        message = one_line(str(error))
    except Exception:  # that of a plugin may raise anything
        message = ""
    if isinstance(error, SharedFailure):
        return message
    return f"{type(error).__name__}: {message or 'no message'}"
