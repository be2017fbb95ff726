"""Batches: normalised as in deployment, and turned into all orientations."""

import numpy as np
import torch
from beansweep.data import preprocess
from beansweep.models import augmentation, backbones

PREPROCESSING = {"image_size": 48, **backbones.IMAGENET}


def test_the_eight_turns_are_the_eight_symmetries_of_a_square():
    image = torch.arange(4 * 4 * 3, dtype=torch.uint8).reshape(1, 4, 4, 3)
    turned = augmentation.turn(image.expand(8, -1, -1, -1), torch.arange(8)).numpy()
    expected = set()
    for flipped in (image[0].numpy(), image[0].numpy()[:, ::-1]):
        for turns in range(4):
            expected.add(np.ascontiguousarray(np.rot90(flipped, turns)).tobytes())
    assert {image.tobytes() for image in turned} == expected


def test_training_and_deployment_normalise_to_the_same_numbers():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 3), dtype=np.uint8)
    deployed = preprocess.normalise(pixels, PREPROCESSING)
    batches = augmentation.Batches(PREPROCESSING, torch.device("cpu"))
    trained = batches.plain(torch.from_numpy(pixels))
    assert trained.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_array_equal(deployed, trained.numpy())
    expected = (pixels[0, 5, 7] / 255 - backbones.IMAGENET["mean"]) / backbones.IMAGENET["std"]
    np.testing.assert_allclose(deployed[0, :, 5, 7], expected, atol=1e-5)
