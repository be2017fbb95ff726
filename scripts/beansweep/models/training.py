"""Training: a short sound recipe, made for images that are decoded once and kept in memory."""

import math
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from beansweep.common import files
from beansweep.common.errors import UserError
from beansweep.common.progress import track
from beansweep.models.augmentation import Batches


def choose_device(name: str) -> torch.device:
    """The device for `auto`, `cpu`, `cuda` or `mps`; auto takes the first accelerator there is."""
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(kind for kind, there in available.items() if there)
    if not available[name]:
        raise UserError(f"train.device: {name} is not available on this machine; use auto or cpu")
    return torch.device(name)


@dataclass
class Split:
    """Decoded images uint8 [n, size, size, 3] and class indices int64 [n] of one split."""

    pixels: torch.Tensor
    labels: torch.Tensor


def parameter_groups(
    parameters: list[nn.Parameter], rate: float, weight_decay: float
) -> list[dict]:
    """Weight decay for weights alone: not for biases and normalisation (He et al. 2019)."""
    return [
        {"params": [p for p in parameters if p.ndim > 1], "lr": rate, "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "lr": rate, "weight_decay": 0.0},
    ]


def learning_rate(step: int, steps: int, warmup: int) -> float:
    """Factor of the peak rate: linear warm-up, then half a cosine to zero (Loshchilov 2017)."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def class_weights(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Inverse class frequency, with mean 1 over the images: float32 [classes]."""
    counts = torch.bincount(labels, minlength=classes).float()
    return len(labels) / (classes * counts.clamp(min=1))


def _crashes_channels_last(conv: nn.Conv2d) -> bool:
    """A strided 1x1 convolution of under 16 channels, as MobileOne and RepVGG have on the image.

    With channels last, its gradient in oneDNN (torch 2.15, AVX-512) reads outside of memory.
    """
    return conv.kernel_size == (1, 1) and conv.stride != (1, 1) and conv.in_channels < 16


class Trainer:
    """One training run: model, optimiser, and the state that a killed run goes on from.

    Parameters
    ----------
    pretrained : names of the parameters that do not start from random values: for the first
        `frozen_epochs` they stay as they are, then they learn at `body_rate` of the rate.
        Statistics of normalisation follow the images from the first epoch on, so that the new
        head learns from features like those it will have.
    """

    def __init__(
        self,
        model: nn.Module,
        settings: dict,
        preprocessing: dict,
        train: Split,
        classes: int,
        pretrained: Collection[str] = (),
    ):
        self.device = choose_device(settings["device"])
        self.model = model.to(self.device, memory_format=torch.channels_last)
        for module in self.model.modules():
            if isinstance(module, nn.BatchNorm2d):
                # torchvision's MobileNetV3 has 0.01, made for hundreds of epochs: in a short run
                # the running statistics that validation uses would lag behind the weights.
                module.momentum = 0.1
            if isinstance(module, nn.Conv2d) and _crashes_channels_last(module):
                module.weight.data = module.weight.data.clone(memory_format=torch.contiguous_format)
                module.register_forward_pre_hook(lambda module, inputs: (inputs[0].contiguous(),))
        self.settings = settings
        self.batches = Batches(preprocessing, self.device)
        self.train = train
        self.batch = min(settings["batch_size"], len(train.labels))
        self.steps = len(train.labels) // self.batch
        self.loss = nn.CrossEntropyLoss(
            class_weights(train.labels, classes), label_smoothing=settings["label_smoothing"]
        ).to(self.device)
        rate, decay = settings["learning_rate"], settings["weight_decay"]
        groups = parameter_groups(
            [p for name, p in model.named_parameters() if name not in pretrained], rate, decay
        )
        self.body = [p for name, p in model.named_parameters() if name in pretrained]
        if self.body:
            groups += parameter_groups(self.body, rate * settings["body_rate"], decay)
        self.optimiser = torch.optim.AdamW(groups, fused=True)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimiser,
            lambda step: learning_rate(
                step, settings["epochs"] * self.steps, round(settings["warmup_epochs"] * self.steps)
            ),
        )
        self.history: list[dict] = []
        self.best: dict[str, torch.Tensor] = {}

    def train_epoch(self, epoch: int) -> float:
        """Train for one epoch and return its mean loss.

        Every random choice follows from the seed and the epoch's number, so a run that goes on
        from a saved epoch makes the same ones as an unbroken run.
        """
        seed = self.settings["seed"] * 100_003 + epoch
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(self.train.labels), generator=generator)
        self.model.train()
        for parameter in self.body:
            parameter.requires_grad_(epoch > self.settings["frozen_epochs"])
        losses = []
        for step in track(range(self.steps), f"train: {self.settings['backbone']}: epoch {epoch}"):
            # The last, incomplete batch is left out: batch normalisation suffers from tiny batches.
            chosen = order[step * self.batch : (step + 1) * self.batch]
            outputs = self.model(self.batches.augmented(self.train.pixels[chosen], generator))
            loss = self.loss(outputs, self.train.labels[chosen].to(self.device))
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
            self.schedule.step()
            losses.append(loss.detach())
        return torch.stack(losses).mean().item()

    @torch.inference_mode()
    def predict(self, pixels: torch.Tensor) -> np.ndarray:
        """Logits of decoded images: float32 [n, classes]."""
        self.model.eval()
        return torch.cat(
            [self.model(self.batches.plain(part)).float().cpu() for part in pixels.split(64)]
        ).numpy()

    def state(self) -> dict:
        """Everything that the next epoch depends on."""
        return {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "history": self.history,
            "best": self.best,
        }

    def restore(self, state: dict) -> None:
        """Go on from `state()` of an earlier process."""
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        self.history, self.best = state["history"], state["best"]


def _saved(resume: Path, device: torch.device) -> dict:
    """What an earlier process saved; empty where that cannot be read, as of another version of PyTorch."""
    try:
        saved = torch.load(resume, map_location=device, weights_only=True)
    except Exception:  # A damaged file leads the reader anywhere.
        return {}
    return saved if isinstance(saved, dict) else {}


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
    `trainer.history` a row an epoch. After each epoch the state goes to `resume`; a state there
    that was saved under the same `run` (a digest of all that decides the result) is gone on from.

    Parameters
    ----------
    macro_f1 : `beansweep.evaluation.metrics.macro_f1`, a room that comes after this one

    Raises
    ------
    UserError
        The loss is not finite.
    """
    settings = trainer.settings
    if resume.exists():
        saved = _saved(resume, trainer.device)
        if saved.get("run") == run:
            trainer.restore(saved["state"])
            report(f"going on after epoch {len(trainer.history)}")
    while len(trainer.history) < settings["epochs"]:
        scores = [row["val_macro_f1"] for row in trainer.history]
        if scores and len(scores) - 1 - int(np.argmax(scores)) >= settings["patience"]:
            report(f"no better for {settings['patience']} epochs: stopping early")
            break
        epoch = len(trainer.history) + 1
        start = time.perf_counter()
        loss = trainer.train_epoch(epoch)
        if not np.isfinite(loss):
            raise UserError(
                f"the training loss of {settings['backbone']} became {loss} in epoch {epoch}: "
                "lower train.learning_rate"
            )
        trained = time.perf_counter() - start
        predicted = trainer.predict(val.pixels).argmax(axis=1)
        score = macro_f1(val.labels.numpy(), predicted, len(trainer.loss.weight))
        trainer.history.append(
            {
                "epoch": epoch,
                "train_loss": loss,
                "val_macro_f1": score,
                "learning_rate": trainer.schedule.get_last_lr()[0],
                "images_per_second": trainer.steps * trainer.batch / trained,
                "seconds": time.perf_counter() - start,
            }
        )
        if score > max(scores, default=-1):
            trainer.best = {
                key: value.detach().cpu().clone()
                for key, value in trainer.model.state_dict().items()
            }
        with files.replacing(resume) as temporary:
            torch.save({"run": run, "state": trainer.state()}, temporary)
        left = (settings["epochs"] - epoch) * np.mean(
            [row["seconds"] for row in trainer.history[-3:]]
        )
        report(
            f"epoch {epoch}/{settings['epochs']}  loss {loss:.3f}  val macro-F1 {score:.3f} "
            f"(best {max([score, *scores]):.3f})  {trainer.history[-1]['images_per_second']:.0f} images/s  "
            f"{left / 60:.1f} min left"
        )
