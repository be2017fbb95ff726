"""Near-duplicates are found, and different images are not taken for them."""

import numpy as np
from beansweep.data import near_duplicates, rendered_beans
from PIL import Image, ImageEnhance


def test_turned_flipped_recoded_and_brightened_copies_are_found_and_others_are_not(tmp_path):
    photos = []
    for seed, label in enumerate(rendered_beans.CLASSES * 4):
        pixels = rendered_beans.render(label, 128, np.random.default_rng(seed))
        photos.append(Image.fromarray(pixels))
    photos[0].save(tmp_path / "copy.jpg", quality=60)
    copies = [
        Image.open(tmp_path / "copy.jpg"),
        photos[1].transpose(Image.Transpose.ROTATE_90),
        photos[2].transpose(Image.Transpose.TRANSVERSE),
        ImageEnhance.Brightness(photos[3]).enhance(0.9),
    ]
    thumbnails = np.stack([near_duplicates.thumbnail(photo) for photo in [*photos, *copies]])
    pairs = near_duplicates.find_pairs(thumbnails, near_duplicates.perceptual_hashes(thumbnails))
    assert list(pairs) == [(0, 24), (1, 25), (2, 26), (3, 27)]
    correlations = list(pairs.values())
    assert min(correlations) >= 0.995
    assert max(correlations) <= 1.001


def test_a_chain_of_pairs_is_one_group():
    groups = near_duplicates.duplicate_groups(5, [(0, 3), (3, 4)])
    assert groups[0] == groups[3] == groups[4]
    assert len(set(groups)) == 3
