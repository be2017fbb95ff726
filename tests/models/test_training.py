"""Training learns, stops early, and goes on to the same weights after it was killed."""

import numpy as np
import pytest
import torch
from beansweep.common.errors import UserError
from beansweep.evaluation import metrics
from beansweep.models import backbones, training
from hypothesis import given
from hypothesis import strategies as st

SETTINGS = {
    "backbone": "mobilenet_v3_small",
    "device": "cpu",
    "batch_size": 8,
    "label_smoothing": 0.1,
    "weight_decay": 0.05,
    "learning_rate": 0.002,
    "epochs": 3,
    "warmup_epochs": 1,
    "patience": 10,
    "seed": 1,
}
PREPROCESSING = {"image_size": 32, **backbones.IMAGENET}


def split(count: int) -> training.Split:
    """Two classes, dark and light."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 2
    pixels = rng.integers(0, 90, (count, 32, 32, 3)) + 150 * labels[:, None, None, None]
    return training.Split(torch.from_numpy(pixels.astype(np.uint8)), torch.from_numpy(labels))


def trainer(**settings) -> training.Trainer:
    torch.manual_seed(0)
    model = backbones.build("mobilenet_v3_small", 2)
    return training.Trainer(model, {**SETTINGS, **settings}, PREPROCESSING, split(24), 2)


def test_a_killed_run_goes_on_to_the_same_weights_and_history(tmp_path):
    whole, lines = trainer(), []
    training.fit(whole, split(8), metrics.macro_f1, tmp_path / "whole.pt", "run", lines.append)

    def killed(line):
        if line.startswith("epoch 2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.fit(trainer(), split(8), metrics.macro_f1, tmp_path / "resume.pt", "run", killed)
    again = trainer()
    training.fit(again, split(8), metrics.macro_f1, tmp_path / "resume.pt", "run", lines.append)
    assert "going on after epoch 2" in lines
    for key, value in whole.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[key]), key
        assert torch.equal(whole.best[key], again.best[key]), key
    for row, same in zip(whole.history, again.history, strict=True):
        assert row["train_loss"] == same["train_loss"]


def test_a_state_saved_under_other_settings_is_not_gone_on_from(tmp_path):
    lines = []
    training.fit(
        trainer(epochs=1),
        split(8),
        metrics.macro_f1,
        tmp_path / "resume.pt",
        "one run",
        lines.append,
    )
    training.fit(
        trainer(epochs=1),
        split(8),
        metrics.macro_f1,
        tmp_path / "resume.pt",
        "another",
        lines.append,
    )
    assert not any("going on" in line for line in lines)


def test_training_stops_early_and_keeps_the_best_epoch(tmp_path):
    run = trainer(epochs=40, patience=2)
    training.fit(run, split(8), metrics.macro_f1, tmp_path / "resume.pt", "run", lambda line: None)
    scores = [row["val_macro_f1"] for row in run.history]
    assert len(scores) == int(np.argmax(scores)) + 3 < 40
    run.model.load_state_dict(run.best)
    assert (run.predict(split(8).pixels).argmax(axis=1) == split(8).labels.numpy()).mean() >= 0.5


def test_a_loss_that_is_not_finite_is_named(tmp_path):
    run = trainer()
    with torch.no_grad():
        next(run.model.parameters()).fill_(float("nan"))
    with pytest.raises(UserError, match="learning_rate"):
        training.fit(
            run, split(8), metrics.macro_f1, tmp_path / "resume.pt", "run", lambda line: None
        )


@given(
    st.lists(st.integers(0, 3), min_size=4, max_size=40).filter(
        lambda labels: len(set(labels)) == 4
    )
)
def test_class_weights_give_every_class_the_same_say(labels):
    weights = training.class_weights(torch.tensor(labels), 4)
    say = [weights[label].item() * labels.count(label) for label in range(4)]
    np.testing.assert_allclose(say, len(labels) / 4, rtol=1e-5)


def test_the_rate_warms_up_then_falls_to_zero():
    rates = [training.learning_rate(step, 100, 10) for step in range(101)]
    assert rates[:10] == sorted(rates[:10])
    assert max(rates) == rates[9] == rates[10] == 1
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[100] == pytest.approx(0)


@pytest.mark.parametrize("content", [b"", b"half a state", b"PK\x03\x04 and no more"])
def test_a_saved_state_that_cannot_be_read_is_started_over(tmp_path, content):
    (tmp_path / "resume.pt").write_bytes(content)
    lines = []
    training.fit(
        trainer(epochs=1), split(8), metrics.macro_f1, tmp_path / "resume.pt", "run", lines.append
    )
    assert len(lines) == 1
    assert lines[0].startswith("epoch 1/1")
