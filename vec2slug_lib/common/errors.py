"""The one exception for problems that a user can mend."""

from __future__ import annotations


class Vec2SlugError(ValueError):
    """Bad input or a missing file; the message says what was expected and what came.

    The command line prints the message without a traceback and exits with code 2.
    """
