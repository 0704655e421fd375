"""The one error that a user is meant to read."""


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is one line: what was expected, what came, and what to do about it.
    """
