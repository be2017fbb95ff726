"""A model in a process of its own, on a processor that may be emulated.

Network inputs go into a pipe and logits come out of another, an image at a time. The process
imports numpy and ONNX Runtime alone, because an emulator takes seconds for each import. Decoding
and softmax stay with the caller.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from beansweep.common import emulator
from beansweep.common.errors import UserError
from beansweep.models import onnx_session

Logits = Callable[[np.ndarray], np.ndarray]


@contextmanager
def opened(python: list[str], metadata: Path, labels: int) -> Iterator[Logits]:
    """Open a model, for as long as the context lasts.

    Parameters
    ----------
    python : command that starts a Python
    metadata : the JSON file next to the model
    labels : how many classes it has

    Yields
    ------
    A function from a network input, float32 [1, 3, size, size], to logits, float32 [1, classes].
    It raises UserError where the process has ended.
    """
    modules = Path(onnx_session.__file__).parents[2]
    process = subprocess.Popen(
        [*python, "-m", "beansweep.models.logits_process", str(metadata.resolve())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=emulator.environment(modules),
    )
    assert process.stdin and process.stdout
    answers, questions = process.stdout, process.stdin

    def logits(inputs: np.ndarray) -> np.ndarray:
        # Where the process has ended, there is no answer.
        with suppress(BrokenPipeError):
            questions.write(inputs.tobytes())
            questions.flush()
        answer = answers.read(4 * labels)
        if len(answer) < 4 * labels:
            raise UserError(f"{' '.join(python)} ended ({_ending(process.wait())})")
        return np.frombuffer(answer, np.float32)[None]

    try:
        yield logits
    finally:
        # The process ends where its input does.
        with suppress(BrokenPipeError):
            questions.close()
        process.wait()
        answers.close()


def _ending(code: int) -> str:
    """How a process ended, in words."""
    return f"signal {-code}" if code < 0 else f"exit status {code}"


def answer(metadata: Path) -> None:
    """Answer each network input on standard input with logits on standard output."""
    session, contents = onnx_session.load(metadata)
    size = contents["preprocessing"]["image_size"]
    while data := sys.stdin.buffer.read(4 * 3 * size * size):
        inputs = np.frombuffer(data, np.float32).reshape(1, 3, size, size)
        sys.stdout.buffer.write(onnx_session.logits(session, inputs).tobytes())
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    answer(Path(sys.argv[1]))
