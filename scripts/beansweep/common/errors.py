"""Errors that the user can fix: each text is one sentence that names the thing and what to do."""


class UserError(Exception):
    """Something that the user can fix."""


class Unreadable(UserError):
    """A file is not what it should be: not an image, a damaged one, or not the accepted model."""
