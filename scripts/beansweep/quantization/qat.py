"""Quantization-aware training: a quantized graph is trained to give what its FP32 gives.

It starts from the graph that static quantization made, weights rounded and biases corrected. At the
default rate and length it tunes biases alone: a weight starts on a whole step of INT8, has to move by
half a step to change in the file, and all updates of an epoch sum to less than that. How many of each
moved is counted and told. It learns from FP32's probabilities alone (Hinton et al. 2015, "Distilling
the Knowledge in a Neural Network"; Polino et al. 2018, "Model compression via distillation and
quantization"): to be right where FP32 is wrong is not asked of it, to be as FP32 is.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import onnx
import torch
from torch.nn import functional

from beansweep.evaluation.agreement import Reference
from beansweep.models import augmentation, onnx_session, training
from beansweep.quantization import fake_quantization, quantization


def train(
    model: Path,
    base: Path,
    pixels: torch.Tensor,
    reference: Reference,
    settings: dict,
    output: Path,
    watch: Callable[[Iterable, str], Iterator],
) -> list[dict]:
    """Train a quantized model on images, and keep the nearest to FP32 of what there was after each epoch.

    Nearest is the least Kullback-Leibler divergence on the validation images, as for
    `search.static`, in the kernels of this machine. What it starts from is one of those compared.

    Images are turned and flipped, and no more: their values stay inside the ranges that the
    calibration found. Made brighter and darker, as in `training`, they would teach it to bear
    clipping that does not happen, and it comes out behind what it starts from.

    Parameters
    ----------
    model : prepared, in float: the teacher
    base : made from it, in QDQ form
    pixels : uint8 [n, size, size, 3], training images
    reference : the validation images
    settings : epochs, learning_rate (the peak, in steps of INT8 an update), batch_size, seed
    output : where the nearest goes; `base` itself, where training came no nearer
    watch : wraps the iteration over an epoch's batches, to show progress

    Returns
    -------
    The score of each, by `epoch`, with the counts of `torch_graph.Network.moved`; epoch 0 is `base`.
    """
    student, teacher = (fake_quantization.Network(onnx.load(path)) for path in (base, model))
    batches = augmentation.Batches(reference.preprocessing, torch.device("cpu"))
    batch = min(settings["batch_size"], len(pixels))
    updates = len(pixels) // batch
    optimiser = torch.optim.Adam(student.parameters(), settings["learning_rate"])
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda step: training.learning_rate(
            step, settings["epochs"] * updates, warmup=updates // 10
        ),
    )
    generator = torch.Generator().manual_seed(settings["seed"])
    entries = quantization.session_entries(base)
    output.write_bytes(base.read_bytes())
    trials = [
        {"epoch": 0, **reference.score(onnx_session.create(base, entries)), **student.moved()}
    ]
    for epoch in range(1, settings["epochs"] + 1):
        order = torch.randperm(len(pixels), generator=generator)
        for step in watch(range(updates), f"epoch {epoch}"):
            chosen = pixels[order[step * batch : (step + 1) * batch]]
            images = batches.plain(
                augmentation.turn(chosen, torch.randint(8, (batch,), generator=generator))
            )
            with torch.no_grad():
                wanted = functional.softmax(teacher(images), dim=1)
            loss = functional.kl_div(
                functional.log_softmax(student(images), dim=1), wanted, reduction="batchmean"
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        learned = student.learned().SerializeToString()
        trials.append(
            {
                "epoch": epoch,
                **reference.score(onnx_session.create(learned, entries)),
                **student.moved(),
            }
        )
        if trials[-1]["kl"] == min(each["kl"] for each in trials):
            output.write_bytes(learned)
    onnx.checker.check_model(onnx.load(output), full_check=True)
    return trials
