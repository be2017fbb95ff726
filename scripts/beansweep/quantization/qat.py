"""Quantization-aware training: a quantized graph is trained to give what its FP32 gives.

It starts from the graph that static quantization made, biases corrected and weights rounded; within
its step, a weight starts as near as possible to its float value. The learning rate follows from how
far weights may move, and from the number of updates. How many weights and biases moved is counted.
The graph learns from FP32's probabilities alone (Hinton et al. 2015, "Distilling the Knowledge in a
Neural Network"; Polino et al. 2018, "Model compression via distillation and quantization"): it is
not asked to be right where FP32 is wrong.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import torch
from torch import Tensor
from torch.nn import functional

from beansweep.common import progress
from beansweep.data import preprocess
from beansweep.data.pixels import Selection
from beansweep.evaluation.agreement import Reference
from beansweep.models import augmentation, onnx_session, saved_state, training
from beansweep.quantization import onnx_graph, session_entries, static, torch_operators
from beansweep.quantization.fake_quantization import Network, check
from beansweep.quantization.quantized import Quantized

# Images that torch and ONNX Runtime are compared on.
_COMPARED = 4


def quantize(
    prepared: ir.Model,
    recipe: dict,
    base: onnx.ModelProto,
    pixels: Selection | Tensor,
    reference: Reference,
    description: str,
    resume: Path,
    run: str,
) -> Quantized:
    """Train a quantized model on images, and keep the model nearest to FP32.

    Nearest is the least Kullback-Leibler divergence on the validation images, as for
    `static.quantize`. The model after each epoch and the base are compared.

    Images are turned and flipped, and no more: their values stay inside the ranges that the
    calibration found. Made brighter and darker, as in `training`, they would teach the graph to
    bear clipping that does not happen, and it would come out behind what it started from.

    Parameters
    ----------
    prepared : in float: the teacher
    recipe : the base's, with epochs, travel (INT8 steps that a weight can move by in all epochs
        together), device, batch_size and seed
    base : made from `prepared`, in QDQ form
    pixels : uint8 [n, size, size, 3], training images, or as much as a selection of them
    reference : the validation images
    description : for lines on the progress of an epoch
    resume, run : see `training.fit`

    Returns
    -------
    The nearest model, which is `base` itself where training came no nearer. Its recipe has
    `equals_base`, `chosen_epoch`, and as `trials` the scores by `epoch`, with the counts of
    `Network.moved`. Epoch 0 is `base`.
    """
    learner = _Training(prepared, base, pixels, reference, recipe, description)
    learner.restore(saved_state.read(resume, run, learner.device))
    while len(learner.trials) <= recipe["epochs"]:
        learner.train_epoch(len(learner.trials))
        saved_state.write(resume, run, learner.state())
    model, chosen = learner.nearest()
    outcome = {"equals_base": chosen == 0, "chosen_epoch": chosen, "trials": learner.trials}
    return Quantized(model, {**recipe, **outcome}, session_entries.of(model))


class _Training:
    """A quantized model that learns, and what it was after its best epoch; see `quantize`.

    Attributes
    ----------
    trials : the scores of the base and of each epoch
    """

    def __init__(
        self,
        prepared: ir.Model,
        base: onnx.ModelProto,
        pixels: Selection | Tensor,
        reference: Reference,
        recipe: dict,
        description: str,
    ):
        self.base = base
        self.pixels = pixels
        self.reference = reference
        self.description = description
        self.seed = recipe["seed"]
        self.batch = min(recipe["batch_size"], len(pixels))
        self.updates = len(pixels) // self.batch
        session = onnx_session.create(ir.to_proto(prepared).SerializeToString())
        inputs = preprocess.normalise(reference.inputs[:_COMPARED], reference.preprocessing)
        self.device = _device(recipe["device"], prepared, session, inputs, description)
        self.student = Network(onnx_graph.from_proto(base), prepared, self.device)
        self.teacher = _teacher(prepared, session, self.device)
        self.batches = augmentation.Batches(reference.preprocessing, self.device)
        self.optimiser, self.schedule = _optimiser(
            self.student, recipe["travel"], recipe["epochs"] * self.updates, self.updates // 10
        )
        self.trials = [{"epoch": 0, **static.score(base, reference), **self.student.moved()}]
        # Of the nearest epoch: what learned. Empty where that is the base.
        self.best: dict[str, Tensor] = {}

    def train_epoch(self, epoch: int) -> None:
        """See all images once, and compare with FP32.

        Every random choice follows from the seed and the epoch's number, so a training that goes
        on from a saved epoch makes the same ones as an unbroken one.
        """
        generator = torch.Generator().manual_seed(self.seed * 100_003 + epoch)
        order = torch.randperm(len(self.pixels), generator=generator)
        for step in progress.track(range(self.updates), f"{self.description}: epoch {epoch}"):
            chosen = order[step * self.batch : (step + 1) * self.batch]
            turns = torch.randint(8, (self.batch,), generator=generator)
            images = torch.as_tensor(self.pixels[chosen]).to(self.device)
            loss = self._divergence(self.batches.plain(augmentation.turn(images, turns)))
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
            self.schedule.step()
        scores = static.score(ir.to_proto(self.student.learned()), self.reference)
        # Where two are equally near, the earlier one is kept.
        if scores["kl"] < min(trial["kl"] for trial in self.trials):
            learned = self.student.state_dict()
            self.best = {name: value.clone() for name, value in learned.items()}
        self.trials.append({"epoch": epoch, **scores, **self.student.moved()})

    def _divergence(self, images: Tensor) -> Tensor:
        """Return the divergence of the student's probabilities from the teacher's on images."""
        wanted = functional.softmax(self.teacher(images), dim=1)
        found = functional.log_softmax(self.student(images), dim=1)
        return functional.kl_div(found, wanted, reduction="batchmean")

    def nearest(self) -> tuple[onnx.ModelProto, int]:
        """The model that is nearest to FP32, and its epoch."""
        if not self.best:
            return self.base, 0
        self.student.load_state_dict(self.best)
        chosen = min(self.trials, key=lambda trial: trial["kl"])["epoch"]
        return ir.to_proto(self.student.learned()), chosen

    def state(self) -> dict:
        """Everything that the next epoch depends on."""
        return {
            "student": self.student.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "trials": self.trials,
            "best": self.best,
        }

    def restore(self, state: dict | None) -> None:
        """Go on from the `state()` of an earlier process, where there is one."""
        if state is None:
            return
        self.student.load_state_dict(state["student"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        self.trials, self.best = state["trials"], state["best"]
        progress.say(f"{self.description}: going on after epoch {len(self.trials) - 1}")


def unsupported(model: ir.Model) -> list[str]:
    """Name what keeps a network from quantization-aware training; an untrained one will do."""
    return torch_operators.unknown(model.graph)


def _device(
    name: str,
    prepared: ir.Model,
    session: onnxruntime.InferenceSession,
    inputs: np.ndarray,
    description: str,
) -> torch.device:
    """The device that `train.device` names, where the network computes there as in ONNX Runtime."""
    # Between two steps, the last bits of a product decide.
    torch.backends.cudnn.allow_tf32 = False
    device = training.choose_device(name)
    try:
        check(prepared, session, inputs, device)
    # What torch raises where a device lacks an operator or memory.
    except RuntimeError as error:
        if device.type == "cpu":
            raise
        progress.say(f"{description}: on the processor, as {device} cannot do it: {error}")
        device = torch.device("cpu")
        check(prepared, session, inputs, device)
    return device


def _teacher(
    prepared: ir.Model, session: onnxruntime.InferenceSession, device: torch.device
) -> Callable[[Tensor], Tensor]:
    """What gives FP32's logits of images: float32 [n, classes] of [n, 3, size, size]."""
    if device.type == "cpu":
        # ONNX Runtime takes half of torch's time.
        return lambda images: torch.from_numpy(
            onnx_session.logits(session, images.contiguous().numpy())
        )
    return torch.no_grad()(Network(prepared, device=device))


def _optimiser(
    student: Network, travel: float, updates: int, warmup: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Adam, with a warm-up and a decay over all updates that add up to `travel` steps.

    One update of Adam moves a value by the learning rate at most, but for its first few.
    """
    shares = [training.learning_rate(update, updates, warmup) for update in range(updates)]
    optimiser = torch.optim.Adam(student.parameters(), travel / sum(shares))
    # The schedule asks for the rate after the last update, too.
    return optimiser, torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda update: training.learning_rate(update, updates, warmup)
    )
