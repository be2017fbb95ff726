"""A checkpoint is the network that was written, and its bytes follow from that alone."""

import torch
from beansweep.models import backbones, checkpoints

PREPROCESSING = {"image_size": 32, **backbones.IMAGENET}


def test_a_checkpoint_is_the_network_that_was_written(tmp_path):
    model = backbones.build("squeezenet1_1", 3)
    checkpoint = {
        "backbone": "squeezenet1_1",
        "labels": ["a", "b", "c"],
        "preprocessing": PREPROCESSING,
        "model": model.state_dict(),
    }
    checkpoints.write(tmp_path / "one.pt", checkpoint)
    checkpoints.write(tmp_path / "other.pt", checkpoint)
    assert (tmp_path / "one.pt").read_bytes() == (tmp_path / "other.pt").read_bytes()
    found, labels, preprocessing = checkpoints.read(tmp_path / "one.pt")
    assert (labels, preprocessing) == (["a", "b", "c"], PREPROCESSING)
    assert not found.training
    inputs = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(found(inputs), model.eval()(inputs))
