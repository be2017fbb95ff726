"""A folder of rendered beans: its layout, its digests, and that it follows from the settings."""

import subprocess

from beansweep.data import rendered_beans, rendered_folder

SETTINGS = {"image_size": 16, "seed": 3, "images": {"train": 2, "val": 1, "test": 1}}


def test_a_folder_has_every_split_and_class_and_follows_from_its_settings(tmp_path):
    folder = tmp_path / "beans"
    rendered_folder.render(folder, SETTINGS)
    for split, count in SETTINGS["images"].items():
        for label in rendered_beans.CLASSES:
            assert len(list((folder / split / label).glob("*.jpg"))) == count
    digests = rendered_folder.digest_lines(folder, tmp_path)
    assert len(digests.splitlines()) == len(set(digests.split()[::2])) == 4 * 6
    (folder / "train/good/stray.jpg").write_bytes(b"of an earlier run")
    rendered_folder.render(folder, SETTINGS)
    assert rendered_folder.digest_lines(folder, tmp_path) == digests
    assert [path.name for path in tmp_path.iterdir()] == ["beans"]


def test_the_digests_are_in_the_form_of_sha256sum(tmp_path):
    rendered_folder.render(tmp_path / "beans", SETTINGS)
    digests = rendered_folder.digest_lines(tmp_path / "beans", tmp_path)
    command = ["sha256sum", "--check", "--quiet"]
    subprocess.run(command, input=digests, text=True, cwd=tmp_path, check=True)
