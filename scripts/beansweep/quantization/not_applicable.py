"""A variant that a backbone cannot have."""

from beansweep.common.errors import UserError


class NotApplicable(UserError):
    """A quantizer cannot serve this network: its text is the reason, in one sentence."""
