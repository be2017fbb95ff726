"""What the figures have to show, and that it can be read."""

import numpy as np
import pandas as pd
from beansweep.report import figures, style
from matplotlib.colors import to_hex


def test_as_many_backbones_as_anybody_sweeps_look_different():
    looks = {(style.colour(number), style.marker(number)) for number in range(60)}
    assert len(looks) == 60


def test_curves_differ_without_colour():
    epochs = pd.DataFrame({"epoch": [1, 2], "train_loss": [1, 2], "val_macro_f1": [0, 1]})
    histories = {f"net{number}": epochs + number for number in range(4)}
    looks, colours = set(), set()
    for line in figures.history(histories).axes[0].lines:
        looks.add((line.get_linestyle(), line.get_marker()))
        colours.add(to_hex(line.get_color()))
    assert len(looks) == len(colours) == 4


def test_confusion_matrices_show_every_count_but_zeros():
    matrix = np.array([[5, 0], [2, 3]])
    axes = figures.confusion({"net": matrix}, ["a", "b"]).axes[0]
    shown = {text.get_position(): text.get_text() for text in axes.texts}
    assert shown == {(0, 0): "5", (0, 1): "2", (1, 1): "3"}


def test_a_dollar_in_a_name_is_no_formula(tmp_path):
    matrix = np.array([[1, 0], [0, 1]])
    figures.save(figures.confusion({"net": matrix}, ["$a_", "b$^"]), tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 1000


def test_a_figure_is_written_with_the_same_bytes_each_time(tmp_path):
    for name in ("one.png", "other.png"):
        figure = figures.latencies({"net": {"variants": {"fp32": {"samples_ms": [1, 2, 3]}}}})
        figures.save(figure, tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "other.png").read_bytes()


def test_mistakes_and_near_duplicates_are_shown_with_their_captions(image_folder):
    root = image_folder("a/1.png", "b/2.png")
    mistake = {"path": "a/1.png", "class": "a", "predicted": "b", "sure": 0.9, "missed": True}
    shown = figures.mistakes(pd.DataFrame([mistake] * 20), root, None).axes
    assert len(shown) == 12
    assert shown[0].get_title() == "a predicted as b\n90%, a missed defect"
    pair = {"first_path": "a/1.png", "second_path": "b/2.png"}
    pair |= {"first_split": "train", "second_split": "test"}
    titles = [
        axes.get_title() for axes in figures.near_duplicates(pd.DataFrame([pair]), root, None).axes
    ]
    assert titles == ["train\na/1.png", "test\nb/2.png"]
