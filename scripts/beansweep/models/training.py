"""Training: a short recipe, made for images that are decoded once."""

import math
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional

from beansweep.common import progress
from beansweep.common.errors import UserError
from beansweep.common.progress import track
from beansweep.data import manifest
from beansweep.data.pixels import Images, Selection
from beansweep.models import (
    cuda_graphs,
    depthwise_convolution,
    gpus,
    reading_ahead,
    saved_state,
    state_dicts,
)
from beansweep.models.augmentation import Batches
from beansweep.models.mixed_precision import MixedPrecision

# Why a device cannot be used, most often.
_MISSING = "it is not available on this machine"
# Images at once in validation.
_VALIDATION_BATCH = 64
# Activations with a gradient that needs their input. In place, PyTorch copies it first.
_NEED_THEIR_INPUT = (nn.SiLU, nn.Hardswish, nn.Hardsigmoid, nn.Mish)


@dataclass
class Split:
    """Images of one split.

    Attributes
    ----------
    pixels : uint8 [n, size, size, 3], or as much as a selection that is read when indexed
    labels : int64 [n] class indices
    """

    pixels: Selection | torch.Tensor
    labels: torch.Tensor


def read_split(
    manifest_rows: pd.DataFrame, images: Images, split: str, preprocessing: dict
) -> Split:
    """The images of one split, as a network with this preprocessing sees them.

    Parameters
    ----------
    manifest_rows : the manifest
    images : of the manifest
    """
    labels = manifest.labels(manifest_rows)
    rows = manifest_rows[manifest_rows["split"] == split]
    indices = [labels.index(label) for label in rows["class"]]
    return Split(images.select(rows["path"], preprocessing), torch.tensor(indices))


def choose_device(name: str) -> torch.device:
    """The device for `auto`, `cpu`, `cuda`, `cuda:1` or `mps`; auto takes one that works.

    Of several GPUs `cuda` takes one that no other training has.

    Raises
    ------
    UserError
        The named device is not there, or torch has no kernels for it.
    """
    if name != "auto":
        reason = _why_not(name)
        if reason:
            raise UserError(f"train.device: {name} cannot be used ({reason}): use auto or cpu")
        return _take(name)
    for kind in ("cuda", "mps"):
        reason = _why_not(kind)
        if not reason:
            return _take(kind)
        if reason != _MISSING:
            progress.say(f"train.device: {kind} cannot be used ({reason}), so cpu is")
    return torch.device("cpu")


def _take(name: str) -> torch.device:
    """A device that works, for this process alone if it is a GPU of CUDA."""
    return gpus.claim(name) if name.startswith("cuda") else torch.device(name)


def _why_not(name: str) -> str | None:
    """Why a device cannot be used; None where it can."""
    kind = torch.device(name).type
    if kind == "cuda" and not torch.cuda.is_available():
        return _MISSING
    if kind == "mps" and not torch.backends.mps.is_available():
        return _MISSING
    try:
        # An old GPU is there, and yet torch may have no kernels for it.
        torch.ones(1, device=name).add(1).item()
    except RuntimeError as error:
        return str(error).strip().splitlines()[0]
    return None


def learning_rate(step: int, steps: int, warmup: int) -> float:
    """Share of the peak learning rate: linear warm-up, then half a cosine to zero.

    The cosine is that of Loshchilov and Hutter (2017, "SGDR: Stochastic gradient descent with
    warm restarts"), without restarts.

    Parameters
    ----------
    step : from 0
    steps : of the whole training
    warmup : steps of the warm-up
    """
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def class_weights(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Inverse frequency of each class, with mean 1 over the images: float32 [classes]."""
    counts = torch.bincount(labels, minlength=classes).float()
    return len(labels) / (classes * counts.clamp(min=1))


def parameter_groups(
    parameters: list[nn.Parameter], rate: float, weight_decay: float
) -> list[dict]:
    """Groups for an optimiser, with weight decay for weights alone.

    Biases and normalisation have none (He et al. 2019, "Bag of tricks for image classification
    with convolutional neural networks").
    """
    weights = [parameter for parameter in parameters if parameter.ndim > 1]
    others = [parameter for parameter in parameters if parameter.ndim <= 1]
    return [
        {"params": weights, "lr": rate, "weight_decay": weight_decay},
        {"params": others, "lr": rate, "weight_decay": 0.0},
    ]


class Trainer:
    """One training run: model, optimiser, and the state that a killed run goes on from.

    Parameters
    ----------
    model : a new classifier
    settings : of `train`, with the backbone's name and the seed
    preprocessing : image_size, mean and std
    train : the training images
    classes : how many there are
    pretrained : names of the parameters that do not start from random values: for the first
        `frozen_epochs` they stay as they are, then they learn at `body_rate` of the rate.
        Statistics of normalisation follow the images from the first epoch on, so that the new
        head learns from features like those it will have.
    teacher : a network for inference; its probabilities are learned instead of the labels
    """

    def __init__(
        self,
        model: nn.Module,
        settings: dict,
        preprocessing: dict,
        train: Split,
        classes: int,
        pretrained: Collection[str] = (),
        teacher: nn.Module | None = None,
    ):
        self.settings = settings
        self.device = choose_device(settings["device"])
        self.model = model.to(self.device).to(memory_format=torch.channels_last)
        _adapt_layers(self.model)
        depthwise_convolution.speed_up(self.model)
        self.batches = Batches(preprocessing, self.device)
        self.precision = MixedPrecision(self.device)
        # All batches have one shape: the fastest kernels for it are worth a search.
        torch.backends.cudnn.benchmark = True
        self.train = train
        self.classes = classes
        self.batch_size = min(settings["batch_size"], len(train.labels))
        self.steps = len(train.labels) // self.batch_size
        weights = class_weights(train.labels, classes)
        self.loss = nn.CrossEntropyLoss(weights, label_smoothing=settings["label_smoothing"])
        self.loss.to(self.device)
        self.teacher = teacher and teacher.to(self.device).to(memory_format=torch.channels_last)
        self.body = [value for name, value in model.named_parameters() if name in pretrained]
        self.optimiser = self._create_optimiser(pretrained)
        self.schedule = self._create_schedule()
        self.history: list[dict] = []
        self.best: dict[str, torch.Tensor] = {}
        # Whether the body was frozen when the network became a CUDA graph; None before that.
        self.captured: bool | None = None

    def _create_optimiser(self, pretrained: Collection[str]) -> torch.optim.Optimizer:
        """AdamW (Loshchilov and Hutter 2019), with a lower rate for pretrained parameters."""
        rate, decay = self.settings["learning_rate"], self.settings["weight_decay"]
        new = [value for name, value in self.model.named_parameters() if name not in pretrained]
        groups = parameter_groups(new, rate, decay)
        if self.body:
            groups += parameter_groups(self.body, rate * self.settings["body_rate"], decay)
        return torch.optim.AdamW(groups, fused=True)

    def _create_schedule(self) -> torch.optim.lr_scheduler.LambdaLR:
        """The learning rate over all steps of the training."""
        steps = self.settings["epochs"] * self.steps
        warmup = round(self.settings["warmup_epochs"] * self.steps)
        return torch.optim.lr_scheduler.LambdaLR(
            self.optimiser, lambda step: learning_rate(step, steps, warmup)
        )

    def train_epoch(self, epoch: int) -> float:
        """Train for one epoch, and return its mean loss.

        Every random choice follows from the seed and the epoch's number, so a run that goes on
        from a saved epoch makes the same ones as an unbroken run.
        """
        seed = self.settings["seed"] * 100_003 + epoch
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(self.train.labels), generator=generator)
        # A student learns what it will compute: its statistics are the teacher's, and stay.
        self.model.train(self.teacher is None)
        frozen = bool(self.body) and epoch <= self.settings["frozen_epochs"]
        for parameter in self.body:
            parameter.requires_grad_(not frozen)
        # The last, incomplete batch is left out: tiny batches disturb batch normalisation.
        chosen = order.split(self.batch_size)[: self.steps]
        read = reading_ahead.batches(self.train.pixels, chosen, self.device.type == "cuda")
        description = f"train: {self.settings['backbone']}: epoch {epoch}"
        losses = []
        for pixels, numbers in track(zip(read, chosen, strict=True), description, self.steps):
            inputs = self.batches.augmented(pixels, generator)
            if self.model.training and self.device.type == "cuda" and self.captured != frozen:
                cuda_graphs.capture(self.model, inputs, self.precision.autocast())
                self.captured = frozen
            labels = self.train.labels[numbers].to(self.device, non_blocking=True)
            with self.precision.autocast():
                loss = self._loss(inputs, labels)
            self.precision.update(self.optimiser, loss)
            self.schedule.step()
            losses.append(loss.detach())
        return torch.stack(losses).mean().item()

    def _loss(self, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The mean loss of a batch: against its labels, or against the teacher's probabilities."""
        outputs = self.model(inputs)
        if self.teacher is None:
            return self.loss(outputs, labels)
        with torch.no_grad():
            wanted = functional.softmax(self.teacher(inputs).float(), dim=1)
        found = functional.log_softmax(outputs.float(), dim=1)
        return functional.kl_div(found, wanted, reduction="batchmean")

    @torch.inference_mode()
    def predict(self, pixels: Selection | torch.Tensor | np.ndarray) -> np.ndarray:
        """Logits of the images of a split: float32 [n, classes]."""
        self.model.eval()
        logits = []
        for start in range(0, len(pixels), _VALIDATION_BATCH):
            batch = torch.as_tensor(pixels[start : start + _VALIDATION_BATCH])
            logits.append(self.model(self.batches.plain(batch)).float().cpu())
        return torch.cat(logits).numpy()

    def keep_best(self) -> None:
        """Keep a copy of the present weights as the best."""
        self.best = {}
        for name, value in self.model.state_dict().items():
            self.best[name] = value.detach().cpu().clone()

    def state(self) -> dict:
        """Everything that the next epoch depends on."""
        return {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "precision": self.precision.state_dict(),
            "history": self.history,
            "best": self.best,
        }

    def restore(self, state: dict) -> None:
        """Go on from the `state()` of an earlier process."""
        state_dicts.load(self.model, state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        self.precision.load_state_dict(state["precision"])
        self.history, self.best = state["history"], state["best"]


def _adapt_layers(model: nn.Module) -> None:
    """Adapt a network's layers to short trainings, to speed and to channels last."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            # torchvision's MobileNetV3 has 0.01, made for hundreds of epochs: in a short run
            # the running statistics that validation uses would lag behind the weights.
            module.momentum = 0.1
        if isinstance(module, _NEED_THEIR_INPUT):
            module.inplace = False
        if isinstance(module, nn.Conv2d) and _crashes_channels_last(module):
            module.weight.data = module.weight.data.clone(memory_format=torch.contiguous_format)
            module.register_forward_pre_hook(lambda module, inputs: (inputs[0].contiguous(),))


def _crashes_channels_last(conv: nn.Conv2d) -> bool:
    """Whether it is a strided 1x1 convolution of under 16 channels, as RepVGG has on the image.

    With channels last, its gradient in oneDNN (torch 2.15, AVX-512) reads outside of memory.
    """
    return conv.kernel_size == (1, 1) and conv.stride != (1, 1) and conv.in_channels < 16


def fit(
    trainer: Trainer,
    val: Split,
    macro_f1: Callable[[np.ndarray, np.ndarray, int], float],
    resume: Path,
    run: str,
    report: Callable[[str], None],
) -> None:
    """Train to the last epoch, or until validation macro-F1 has not risen for `patience` epochs.

    Afterwards `trainer.best` holds the weights of the best epoch by validation macro-F1, and
    `trainer.history` has one row an epoch.

    Parameters
    ----------
    trainer : a new one
    val : the validation images
    macro_f1 : `beansweep.evaluation.metrics.macro_f1`, of a room that comes after this one
    resume : file that the state is saved to after each epoch; the training goes on from a state
        there that was saved under the same `run`
    run : digest of all that decides the result
    report : takes one line for the person who watches

    Raises
    ------
    UserError
        The loss is not finite.
    """
    epochs, patience = trainer.settings["epochs"], trainer.settings["patience"]
    saved = saved_state.read(resume, run, trainer.device)
    if saved is not None:
        trainer.restore(saved)
        report(f"going on after epoch {len(trainer.history)}")
    while len(trainer.history) < epochs:
        if trainer.history and _epochs_since_best(trainer.history) >= patience:
            report(f"no better for {patience} epochs: stopping early")
            break
        _run_epoch(trainer, val, macro_f1)
        saved_state.write(resume, run, trainer.state())
        report(_epoch_line(trainer.history, epochs))


def _run_epoch(
    trainer: Trainer, val: Split, macro_f1: Callable[[np.ndarray, np.ndarray, int], float]
) -> None:
    """Train and validate for one epoch, and add it to the trainer's history."""
    epoch = len(trainer.history) + 1
    start = time.perf_counter()
    loss = trainer.train_epoch(epoch)
    if not np.isfinite(loss):
        raise UserError(
            f"the training loss of {trainer.settings['backbone']} became {loss} in epoch {epoch}: "
            "lower train.learning_rate"
        )
    trained = time.perf_counter() - start
    predicted = trainer.predict(val.pixels).argmax(axis=1)
    score = macro_f1(val.labels.numpy(), predicted, trainer.classes)
    if score > max(_scores(trainer.history), default=-1):
        trainer.keep_best()
    trainer.history.append(
        {
            "epoch": epoch,
            "train_loss": loss,
            "val_macro_f1": score,
            "learning_rate": trainer.schedule.get_last_lr()[0],
            "images_per_second": trainer.steps * trainer.batch_size / trained,
            "seconds": time.perf_counter() - start,
        }
    )


def _scores(history: list[dict]) -> list[float]:
    """Validation macro-F1 of each epoch."""
    return [row["val_macro_f1"] for row in history]


def _epochs_since_best(history: list[dict]) -> int:
    """Epochs after the one with the best validation macro-F1."""
    return len(history) - 1 - int(np.argmax(_scores(history)))


def _epoch_line(history: list[dict], epochs: int) -> str:
    """The last epoch in a line, with the time left (minutes)."""
    last = history[-1]
    seconds = [row["seconds"] for row in history[-3:]]
    left = (epochs - last["epoch"]) * np.mean(seconds) / 60
    return (
        f"epoch {last['epoch']}/{epochs}  loss {last['train_loss']:.3f}  "
        f"val macro-F1 {last['val_macro_f1']:.3f} (best {max(_scores(history)):.3f})  "
        f"{last['images_per_second']:.0f} images/s  {left:.1f} min left"
    )
