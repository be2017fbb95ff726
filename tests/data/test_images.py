"""Images that are read in bulk."""

import numpy as np
from beansweep.data import images, preprocess


def test_images_are_read_in_the_order_of_their_paths(image_folder):
    paths = ["a/2.png", "b/1.png", "a/1.png"]
    root = image_folder(*paths)
    pixels = images.load(root, iter(paths), {"image_size": 24})
    assert pixels.shape == (3, 24, 24, 3)
    for image, path in zip(pixels, paths, strict=True):
        np.testing.assert_array_equal(image, preprocess.fit(preprocess.read(root / path), 24))


def test_no_images_are_no_error(tmp_path):
    assert images.load(tmp_path, [], {"image_size": 24}).shape == (0, 24, 24, 3)
