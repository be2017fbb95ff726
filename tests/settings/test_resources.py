"""What a job asks a cluster for."""

import os
import re

import pytest
from beansweep.settings import resources, sweep
from beansweep.settings.sweep import Sweep
from conftest import PROJECT
from test_sweep import configured


@pytest.fixture
def manifest(tmp_path, monkeypatch):
    """A function that writes a manifest of so many images."""
    monkeypatch.chdir(tmp_path)

    def write(images: int) -> None:
        file = tmp_path / sweep.MANIFEST
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("path\n" + "image\n" * images)
        os.utime(file, (images, images))

    return write


def test_memory_grows_with_the_batch_and_hardly_with_the_images(manifest):
    manifest(1000)
    small = resources.mem_mb(configured(), "train", "efficientnet_b0")
    large = configured(train__batch_size=128, train__image_size=224)
    assert resources.mem_mb(large, "train", "efficientnet_b0") > 4 * small
    manifest(101_000)
    assert small < resources.mem_mb(configured(), "train", "efficientnet_b0") <= small + 100


def test_time_grows_with_images_epochs_and_pixels(manifest):
    plain = configured()
    least = resources.minutes(plain, "train", "efficientnet_b0")
    manifest(100_000)
    some = resources.minutes(plain, "train", "efficientnet_b0") - least
    assert some > resources.minutes(plain, "evaluate", "efficientnet_b0") > least
    twice = configured(train__epochs=36)
    more = resources.minutes(twice, "train", "efficientnet_b0") - least
    assert more == pytest.approx(2 * some, rel=0.01)


def test_memory_and_time_are_of_the_images_that_the_network_takes(manifest):
    manifest(10_000)
    name = "timm/deit_tiny_patch16_224"
    sized = Sweep(configured(backbones=["resnet18@224", name]).config, {name: 224})
    for find in (resources.minutes, resources.mem_mb):
        resnet, deit = (find(sized, "train", run) for run in sized.runs)
        assert resnet == deit > find(configured(), "train", "efficientnet_b0")


def test_every_rule_declares_memory_and_time():
    for file in (PROJECT / "workflow/rules").glob("*.smk"):
        for rule in re.split(r"^rule ", file.read_text(), flags=re.MULTILINE)[1:]:
            assert "        mem_mb=mem_mb,\n        runtime=runtime,\n" in rule, rule.split(":")[0]
