"""Errors that a person can mend: the text of each is one sentence that names the thing and what to do."""


class UserError(Exception):
    """Something that the user can mend."""


class Unreadable(UserError):
    """A file is not what it should be: an image that can be decoded whole, or the model that was accepted."""
