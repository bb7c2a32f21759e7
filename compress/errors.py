"""The one exception for mistakes of the user's."""


class UserError(ValueError):
    """Bad input, told in one line: what, where, got, expected, remedy.

    The command line prints it without a traceback and exits with code 2.
    """
