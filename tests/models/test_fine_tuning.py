"""Training from pretrained weights: the head first, the body after it and more slowly."""

import numpy as np
import pytest
import torch
from beansweep.evaluation import metrics
from beansweep.models import backbones, pretrained_weights, training

SETTINGS = {
    "backbone": "mobilenet_v3_small",
    "device": "cpu",
    "batch_size": 8,
    "label_smoothing": 0.1,
    "weight_decay": 0.0,
    "learning_rate": 0.002,
    "epochs": 4,
    "warmup_epochs": 1,
    "patience": 10,
    "seed": 1,
    "frozen_epochs": 1,
    "body_rate": 0.1,
}


def split(count: int) -> training.Split:
    """Two classes, dark and light."""
    labels = np.arange(count) % 2
    pixels = (
        np.random.default_rng(0).integers(0, 90, (count, 32, 32, 3))
        + 150 * labels[:, None, None, None]
    )
    return training.Split(torch.from_numpy(pixels.astype(np.uint8)), torch.from_numpy(labels))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A weights file, as of a network that was trained on something else."""
    torch.manual_seed(5)
    path = tmp_path_factory.mktemp("weights") / "weights.pth"
    torch.save(backbones.build("mobilenet_v3_small", 7).state_dict(), path)
    return str(path)


def trainer(weights: str, **changes) -> training.Trainer:
    torch.manual_seed(0)
    model = backbones.build("mobilenet_v3_small", 2)
    pretrained = pretrained_weights.load_weights(model, "mobilenet_v3_small", weights)
    return training.Trainer(
        model,
        {**SETTINGS, **changes},
        {"image_size": 32, **backbones.IMAGENET},
        split(24),
        2,
        pretrained,
    )


def moved(run: training.Trainer, epoch: int) -> dict[str, float]:
    """Train an epoch: mean change of the head's, the body's and the statistics' values."""
    before = {key: value.clone() for key, value in run.model.state_dict().items()}
    run.train_epoch(epoch)
    parameters = {name for name, _ in run.model.named_parameters()}
    changes = {"head": [], "body": [], "statistics": []}
    for key, value in run.model.state_dict().items():
        if key not in parameters:
            part = "statistics"
        elif key.startswith("classifier.3."):
            part = "head"
        else:
            part = "body"
        changes[part].append((value.double() - before[key].double()).abs().flatten())
    return {part: torch.cat(values).mean().item() for part, values in changes.items()}


def test_the_head_learns_first_and_statistics_follow_the_images(weights):
    run = trainer(weights)
    first, second = moved(run, 1), moved(run, 2)
    assert first["body"] == 0
    assert min(first["head"], first["statistics"], second["body"], second["head"]) > 0


def test_the_body_learns_more_slowly(weights):
    slow = moved(trainer(weights, frozen_epochs=0, body_rate=0.1), 1)
    full = moved(trainer(weights, frozen_epochs=0, body_rate=1.0), 1)
    assert 0 < slow["body"] < 0.3 * full["body"]


def test_a_network_of_random_weights_learns_all_at_once_whatever_these_keys_say():
    one, other = trainer("none"), trainer("none", frozen_epochs=3, body_rate=0.01)
    for run in (one, other):
        assert moved(run, 1)["body"] > 0
    for key, value in one.model.state_dict().items():
        assert torch.equal(value, other.model.state_dict()[key]), key


def test_a_killed_run_goes_on_through_the_thaw(weights, tmp_path):
    whole = trainer(weights)
    training.fit(whole, split(8), metrics.macro_f1, tmp_path / "whole.pt", "run", lambda line: None)

    def killed(line):
        if line.startswith("epoch 1"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.fit(
            trainer(weights), split(8), metrics.macro_f1, tmp_path / "resume.pt", "run", killed
        )
    again = trainer(weights)
    training.fit(
        again, split(8), metrics.macro_f1, tmp_path / "resume.pt", "run", lambda line: None
    )
    for key, value in whole.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[key]), key


def test_a_strided_1x1_convolution_of_the_image_trains():
    # Where channels lie last, its gradient ends the process on some processors.
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 48, 1, stride=2, bias=False),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(48, 2),
    )
    labels = torch.arange(64) % 2
    dark = torch.randint(90, (64, 96, 96, 3), dtype=torch.uint8)
    pixels = dark + 150 * labels.to(torch.uint8)[:, None, None, None]
    run = training.Trainer(
        network,
        {**SETTINGS, "batch_size": 32},
        {"image_size": 96, **backbones.IMAGENET},
        training.Split(pixels, labels),
        2,
    )
    before = network[0].weight.detach().clone()
    assert np.isfinite(run.train_epoch(1))
    assert not torch.equal(network[0].weight, before)
