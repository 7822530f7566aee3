"""Owns how a command fails: one line for people on standard error and an exit code, never a traceback."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every command."""

    OK = 0
    FAILED = 1
    """What was asked could not be done, or a check found something."""
    USAGE = 2
    """A wrong option or argument."""
    UNREACHABLE = 3
    """The platform does not run or does not answer."""
    REFUSED = 4
    """The platform refused: not authenticated, not allowed, rate limited."""
    NOT_FOUND = 5
    """There is no such agent, user or key."""
    INTERRUPTED = 130


EPILOG = (
    "Exit codes: 0 done · 1 failed, or a check found something · 2 wrong usage · 3 platform not running or not answering · "
    "4 refused (credentials, rights, rate limit) · 5 no such agent, user or key · 130 interrupted."
)


class CommandError(Exception):
    """Something a person can do something about; the message says what is wrong, where, and what to do."""

    exit_code: Exit = Exit.FAILED

    def __init__(self, message: str, exit_code: Exit | None = None) -> None:
        super().__init__(message)
        if exit_code is not None:
            self.exit_code = exit_code
