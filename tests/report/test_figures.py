"""What the figures have to show, and that it can be read."""

import warnings

import matplotlib
import numpy as np
import pandas as pd
import pytest
from beansweep.report import figures, fonts, style
from matplotlib.colors import to_hex
from PIL import Image


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


@pytest.mark.parametrize("classes", [31, 100, 400])
def test_many_classes_are_a_bounded_figure_of_the_worst_confusions(tmp_path, classes):
    matrix = np.eye(classes, dtype=int) * 50
    matrix[4, 9], matrix[7, 2] = 50, 3
    labels = [f"class {number:03}" for number in range(classes)]
    figure = figures.confusion({"fp32": matrix, "int8": matrix}, labels)
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == [
        "class 007 as class 002",
        "class 004 as class 009",
    ]
    assert [bar.get_width() for bar in axes.patches] == [3, 50]
    assert "50%" in {text.get_text() for text in axes.texts}
    figures.save(figure, tmp_path / "figure.png")
    with Image.open(tmp_path / "figure.png") as image:
        assert max(image.size) < 2500


def test_a_matrix_of_thirty_classes_is_bounded(tmp_path):
    labels = [f"class {number}" for number in range(30)]
    figures.save(figures.confusion({"net": np.eye(30, dtype=int)}, labels), tmp_path / "figure.png")
    with Image.open(tmp_path / "figure.png") as image:
        assert max(image.size) < 2000


def test_letters_of_other_fonts_are_drawn_with_them_or_classes_are_numbered(monkeypatch, tmp_path):
    assert fonts.names(["Schäden", "ดี", "良品"])["Schäden"] == "Schäden"
    # As on a machine that has no other font than the default.
    monkeypatch.setattr(fonts, "_installed", dict)
    labels = ["good", "\u826f\u54c1", "x" * 300]
    assert list(fonts.names(labels).values()) == ["good", "class 2", "class 3"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = figures.confusion({"net": np.eye(3, dtype=int)}, labels)
        figures.save(figure, tmp_path / "figure.png")
    ticks = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert ticks == ["good", "class 2", "class 3"]


def test_a_font_is_taken_for_the_letters_that_the_default_lacks(monkeypatch):
    """As a stand-in for a font of Chinese letters: one with letters that the default lacks."""
    lacks = {"\u826f": "other.ttf", "\u54c1": "other.ttf"}

    def letters(file):
        found = {letter for letter, font in lacks.items() if font == file}
        return found | set("god") if file == "other.ttf" else set("god ")

    monkeypatch.setattr(fonts, "_letters", letters)
    monkeypatch.setattr(fonts, "_installed", lambda: {"Other": "other.ttf", "None": "none.ttf"})
    monkeypatch.setitem(matplotlib.rcParams, "font.family", ["DejaVu Sans"])
    assert fonts.names(["good", "\u826f\u54c1"])["\u826f\u54c1"] == "\u826f\u54c1"
    assert matplotlib.rcParams["font.family"] == ["DejaVu Sans", "Other"]


def test_a_dollar_in_a_name_is_no_formula(tmp_path):
    matrix = np.array([[1, 0], [0, 1]])
    figures.save(figures.confusion({"net": matrix}, ["$a_", "b$^"]), tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 1000


def timed(backbones, samples):
    """A table of candidates and the benches that it is from, without finalists."""
    rows, bench = [], {"variants": {name: {"samples_ms": own} for name, own in samples.items()}}
    for backbone in backbones:
        for variant in samples:
            rows.append({"backbone": backbone, "variant": variant})
    table = pd.DataFrame(rows).assign(time_scale=1.0, timed_together=False)
    table.index = table["backbone"] + ":" + table["variant"]
    return table, dict.fromkeys(backbones, bench), {"candidates": {}}


def test_latencies_are_drawn_on_the_scale_of_the_tables():
    table, benches, together = timed(["net"], {"fp32": [4, 5, 6], "int8": [1, 2, 3]})
    table.loc["net:fp32", "time_scale"] = 0.5
    table.loc["net:int8", "timed_together"] = True
    together["candidates"]["net:int8"] = {"samples_ms": [1.2, 1.5, 1.8]}
    axes = figures.latencies(table, benches, together).axes[0]
    orange = [line for line in axes.lines if to_hex(line.get_color()) == style.COLOURS[1].lower()]
    assert [line.get_xdata()[0] for line in orange] == [1.5, 2.5]


def test_a_figure_is_written_with_the_same_bytes_each_time(tmp_path):
    for name in ("one.png", "other.png"):
        figure = figures.latencies(*timed(["net"], {"fp32": [1, 2, 3]}))
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


@pytest.mark.parametrize(("largest", "logarithmic"), [(0.04, False), (0.3, True)])
def test_a_logarithmic_scale_of_accuracy_drops_is_named_and_has_ticks(largest, logarithmic):
    drops = pd.DataFrame({"backbone": "net", "variant": ["a", "b"], "test_drop": [0.0, largest]})
    drops["quantization_drop"], drops["kernel_drop"] = drops["test_drop"], 0.0
    drops["test_drop_low"], drops["test_drop_high"] = drops["test_drop"] - 0.01, drops["test_drop"]
    axes = figures.accuracy_drops(drops).axes[0]
    assert ("logarithmic beyond ±0.01" in axes.get_xlabel()) == logarithmic
    assert (axes.get_xscale() == "symlog") == logarithmic
    if logarithmic:
        assert {0.02, 0.05, 0.1, 0.2} <= set(axes.get_xticks())


def test_as_many_backbones_as_anybody_sweeps_are_bounded_figures(tmp_path):
    """A row a candidate would make 18,000 pixels, and a legend on its right would be higher."""
    names = [f"backbone_number_{number}" for number in range(77)]
    rng = np.random.default_rng(0)
    epochs = pd.DataFrame({"epoch": [1, 2], "train_loss": [1, 2], "val_macro_f1": [0, 1]})
    samples = {variant: [rng.random(9)] for variant in ("fp32", "int8", "mixed")}
    drops = pd.DataFrame({"backbone": names * 2, "variant": ["a"] * 77 + ["b"] * 77})
    for column in ("quantization_drop", "kernel_drop", "test_drop"):
        drops[column] = rng.random(len(drops)) / 100
    drops["test_drop_low"] = drops["test_drop"] - 0.01
    drops["test_drop_high"] = drops["test_drop"] + 0.01
    drawn = {
        "history": figures.history(dict.fromkeys(names, epochs)),
        "latencies": figures.latencies(*timed(names, samples)),
        "drops": figures.accuracy_drops(drops),
    }
    titles = [axes.get_title() for figure in drawn.values() for axes in figure.axes]
    assert titles[2:] == ["the 60 fastest of 231", "the 60 largest drops of 154"]
    largest = drops.nlargest(60, "test_drop")
    shown = {text.get_text() for text in drawn["drops"].axes[0].get_yticklabels()}
    assert shown == set(largest["backbone"] + "  " + largest["variant"])
    for name, figure in drawn.items():
        figures.save(figure, tmp_path / f"{name}.png")
        with Image.open(tmp_path / f"{name}.png") as image:
            assert max(image.size) < 4000, name
