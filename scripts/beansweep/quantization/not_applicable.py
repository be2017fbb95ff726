"""A variant that a backbone cannot have."""

from collections.abc import Iterator
from contextlib import contextmanager

from beansweep.common import memory
from beansweep.common.errors import UserError


class NotApplicable(UserError):
    """A quantizer cannot serve this network: its text is the reason, in one sentence."""


@contextmanager
def what_onnxruntime_refuses() -> Iterator[None]:
    """Take what ONNX Runtime's quantizer says of a network that it does not serve as a reason.

    Raises
    ------
    NotApplicable
        It does not serve the network.
    """
    try:
        yield
    except (ValueError, NotImplementedError, RuntimeError) as error:
        if memory.ran_out(error):
            raise
        raise NotApplicable(f"ONNX Runtime's quantizer does not serve it: {error}") from error
