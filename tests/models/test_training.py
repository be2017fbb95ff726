"""Training learns, can be killed, and starts from weights that fit."""

import numpy as np
import pytest
import torch
import torchvision
from beansweep.common.errors import UserError
from beansweep.evaluation import metrics
from beansweep.models import augmentation, backbones, pretrained_weights, training
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
    assert [row["train_loss"] for row in whole.history] == [
        row["train_loss"] for row in again.history
    ]


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


def test_the_eight_turns_are_the_eight_symmetries_of_a_square():
    image = torch.arange(4 * 4 * 3, dtype=torch.uint8).reshape(1, 4, 4, 3)
    turned = augmentation.turn(image.expand(8, -1, -1, -1), torch.arange(8)).numpy()
    expected = [
        np.rot90(flipped, turns)
        for flipped in (image[0].numpy(), image[0].numpy()[:, ::-1])
        for turns in range(4)
    ]
    assert {each.tobytes() for each in turned} == {
        np.ascontiguousarray(each).tobytes() for each in expected
    }


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


@pytest.mark.parametrize(
    "name", ["mobilenet_v3_small", "efficientnet_b0", "squeezenet1_1", "resnet18"]
)
def test_a_new_network_is_undecided_between_few_classes(name):
    torch.manual_seed(0)
    model = backbones.build(name, 3).eval()
    probabilities = model(torch.randn(4, 3, 64, 64)).softmax(dim=1)
    assert (probabilities - 1 / 3).abs().max() < 0.2


def test_weights_of_the_same_network_fill_its_body_and_leave_the_head(tmp_path):
    source = torchvision.models.mobilenet_v3_small(num_classes=1000)
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    model = backbones.build("mobilenet_v3_small", 5)
    head = model.classifier[3].weight.clone()
    pretrained_weights.load_weights(model, "mobilenet_v3_small", str(tmp_path / "weights.pth"))
    assert torch.equal(model.features[0][0].weight, source.features[0][0].weight)
    assert torch.equal(model.classifier[3].weight, head)


def test_weights_of_another_network_are_refused_by_name(tmp_path):
    torch.save(
        torchvision.models.mobilenet_v3_large(num_classes=10).state_dict(), tmp_path / "large.pth"
    )
    with pytest.raises(UserError, match=r"large\.pth does not fit mobilenet_v3_small"):
        pretrained_weights.load_weights(
            backbones.build("mobilenet_v3_small", 5),
            "mobilenet_v3_small",
            str(tmp_path / "large.pth"),
        )


@pytest.mark.parametrize("content", [b"", b"not a pickle", b"cos\nsystem\n(S'touch harm'\ntR."])
def test_a_file_that_is_no_state_dict_is_refused_and_runs_nothing(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.pth").write_bytes(content)
    with pytest.raises(UserError, match=r"bad\.pth is not a plain state dict"):
        pretrained_weights.load_weights(
            backbones.build("mobilenet_v3_small", 5),
            "mobilenet_v3_small",
            str(tmp_path / "bad.pth"),
        )
    assert not (tmp_path / "harm").exists()


def test_imagenet_weights_that_cannot_be_downloaded_say_what_to_do(monkeypatch):
    def offline(*arguments, **options):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", offline)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(UserError, match=r"cannot be downloaded .* train\.weights to none"):
        pretrained_weights.load_weights(
            backbones.build("mobilenet_v3_small", 5), "mobilenet_v3_small", "imagenet"
        )


@pytest.mark.parametrize("content", [b"", b"half a state", b"PK\x03\x04 and no more"])
def test_a_saved_state_that_cannot_be_read_is_begun_anew(tmp_path, content):
    (tmp_path / "resume.pt").write_bytes(content)
    lines = []
    training.fit(
        trainer(epochs=1), split(8), metrics.macro_f1, tmp_path / "resume.pt", "run", lines.append
    )
    assert len(lines) == 1
    assert lines[0].startswith("epoch 1/1")
