"""The one error that a user caused or can mend."""


class UserError(Exception):
    """Wrong use, bad input or a broken plugin: printed as one line, without a traceback, exit code 2."""
