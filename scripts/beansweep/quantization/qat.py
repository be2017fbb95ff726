"""Quantization-aware training: a quantized graph is trained to give what its FP32 gives.

It starts from the graph that static quantization made, weights rounded and biases corrected. At the
default rate and length it tunes biases alone: a weight starts on a whole step of INT8, it has to
move by half a step to change in the file, and all updates of an epoch sum to less than that. How
many weights and biases moved is counted. The graph learns from FP32's probabilities alone (Hinton
et al. 2015, "Distilling the Knowledge in a Neural Network"; Polino et al. 2018, "Model compression
via distillation and quantization"): it is not asked to be right where FP32 is wrong.
"""

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
from beansweep.models import augmentation, onnx_session, training
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
) -> Quantized:
    """Train a quantized model, and say in its recipe what training did; see `train`.

    Parameters
    ----------
    recipe : the base's, with the settings of `train`

    Returns
    -------
    Its recipe has `equals_base`, `chosen_epoch` and `trials`.
    """
    model, trials = train(prepared, base, pixels, reference, recipe, description)
    chosen = min(trials, key=lambda trial: trial["kl"])["epoch"]
    outcome = {"equals_base": chosen == 0, "chosen_epoch": chosen, "trials": trials}
    return Quantized(model, {**recipe, **outcome}, session_entries.of(model))


def train(
    prepared: ir.Model,
    base: onnx.ModelProto,
    pixels: Selection | Tensor,
    reference: Reference,
    settings: dict,
    description: str,
) -> tuple[onnx.ModelProto, list[dict]]:
    """Train a quantized model on images, and keep the model nearest to FP32.

    Nearest is the least Kullback-Leibler divergence on the validation images, as for
    `static.quantize`. The model after each epoch and the base are compared.

    Images are turned and flipped, and no more: their values stay inside the ranges that the
    calibration found. Made brighter and darker, as in `training`, they would teach the graph to
    bear clipping that does not happen, and it would come out behind what it started from.

    Parameters
    ----------
    prepared : in float: the teacher
    base : made from it, in QDQ form
    pixels : uint8 [n, size, size, 3], training images, or as much as a selection of them
    reference : the validation images
    settings : epochs, learning_rate (the peak, in steps of INT8 an update), batch_size, seed
    description : for lines on the progress of an epoch

    Returns
    -------
    The nearest model, which is `base` itself where training came no nearer; and the scores of each
    by `epoch`, with the counts of `Network.moved`. Epoch 0 is `base`.
    """
    student = Network(onnx_graph.from_proto(base))
    # ONNX Runtime, which takes half of torch's time.
    teacher = onnx_session.create(ir.to_proto(prepared).SerializeToString())
    inputs = preprocess.normalise(reference.inputs[:_COMPARED], reference.preprocessing)
    check(prepared, teacher, inputs)
    batches = augmentation.Batches(reference.preprocessing, torch.device("cpu"))
    batch = min(settings["batch_size"], len(pixels))
    updates = len(pixels) // batch
    optimiser, schedule = _optimiser(student, settings, updates)
    generator = torch.Generator().manual_seed(settings["seed"])
    nearest = base
    trials = [{"epoch": 0, **static.score(base, reference), **student.moved()}]
    for epoch in range(1, settings["epochs"] + 1):
        order = torch.randperm(len(pixels), generator=generator)
        for step in progress.track(range(updates), f"{description}: epoch {epoch}"):
            chosen = torch.as_tensor(pixels[order[step * batch : (step + 1) * batch]])
            turns = torch.randint(8, (batch,), generator=generator)
            images = batches.plain(augmentation.turn(chosen, turns))
            loss = _divergence(student, teacher, images)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        learned = ir.to_proto(student.learned())
        trials.append({"epoch": epoch, **static.score(learned, reference), **student.moved()})
        # Where two are equally near, the earlier one is kept.
        if trials[-1]["kl"] < min(trial["kl"] for trial in trials[:-1]):
            nearest = learned
    return nearest, trials


def unsupported(model: ir.Model) -> list[str]:
    """Name what keeps a network from quantization-aware training; an untrained one will do."""
    return torch_operators.unknown(model.graph)


def _optimiser(
    student: Network, settings: dict, updates: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Adam, with the learning rate's warm-up and decay over all updates."""
    optimiser = torch.optim.Adam(student.parameters(), settings["learning_rate"])

    def share(step: int) -> float:
        total = settings["epochs"] * updates
        return training.learning_rate(step, total, warmup=updates // 10)

    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, share)


def _divergence(student: Network, teacher: onnxruntime.InferenceSession, images: Tensor) -> Tensor:
    """Return the divergence of the student's probabilities from the teacher's on some images."""
    logits = onnx_session.logits(teacher, images.contiguous().numpy())
    wanted = functional.softmax(torch.from_numpy(logits), dim=1)
    found = functional.log_softmax(student(images), dim=1)
    return functional.kl_div(found, wanted, reduction="batchmean")
