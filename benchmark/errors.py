"""The one error that a user caused or can mend."""


class UserError(Exception):
    """Wrong use, bad input or a broken plugin: printed as one line, without a traceback, exit code 2."""


class OutputError(UserError):
    """The output folder cannot be written: the run stops, instead of failing cell after cell."""
