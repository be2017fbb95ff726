"""Every bad input gives one sentence that names the file or key, and no code in it runs."""

import argparse
import ast
import copy
import importlib.util
import io
import os
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
import yaml
from beansweep.common import errors, files, progress
from beansweep.common.errors import UserError
from beansweep.data import image_folders, preprocess, splitting
from beansweep.evaluation import predictions
from beansweep.models import backbones, model_metadata, onnx_session, pretrained_weights
from beansweep.settings import validation
from conftest import PROJECT, configure, snakemake
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from PIL import Image, PngImagePlugin

SCHEMA = PROJECT / "workflow/schemas/config.schema.yaml"
DEFAULT = yaml.safe_load((PROJECT / "config.yaml").read_text())
NOISE = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def bomb() -> bytes:
    """A PNG of a few kilobytes whose text would fill the memory."""
    text = PngImagePlugin.PngInfo()
    text.add_text("comment", "a" * 3_000_000, zip=True)
    return encoded(Image.new("L", (4, 4)), "PNG", pnginfo=text)


def header(width: int, height: int) -> bytes:
    """A PNG that claims a size, and has no pixels."""
    small = encoded(Image.new("L", (1, 1)), "PNG")
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return small[:12] + head + struct.pack(">I", zlib.crc32(head)) + small[33:]


IMAGES = {
    "no bytes": (b"", "not an image"),
    "text": (b"a text file named .jpg\n" * 50, "not an image"),
    "a page": (b"<!DOCTYPE html><html>404</html>", "not an image"),
    "a truncated JPEG": (encoded(Image.fromarray(NOISE), "JPEG")[:900], "cannot be read"),
    "a JPEG's header alone": (encoded(Image.fromarray(NOISE), "JPEG")[:200], "cannot be read"),
    "a truncated PNG": (encoded(Image.fromarray(NOISE), "PNG")[:2000], "cannot be read"),
    "a truncated WebP": (encoded(Image.fromarray(NOISE), "WEBP")[:100], "cannot be read"),
    "a truncated TIFF": (
        encoded(Image.fromarray(NOISE), "TIFF", compression="tiff_lzw")[:700],
        "cannot be read",
    ),
    "20000 by 20000 pixels": (header(20_000, 20_000), "400 megapixels, and 100 are allowed"),
    "a decompression bomb": (bomb(), "cannot be read"),
    "floating-point pixels": (
        encoded(Image.fromarray(np.full((4, 4), 0.5, np.float32)), "TIFF"),
        "more than 16 bits",
    ),
    "32-bit pixels": (
        encoded(Image.fromarray(np.full((4, 4), 70_000, np.int32)), "TIFF"),
        "more than 16 bits",
    ),
}


@pytest.mark.parametrize("name", IMAGES)
def test_what_is_no_readable_image_is_named(tmp_path, name):
    content, words = IMAGES[name]
    (tmp_path / "bad.png").write_bytes(content)
    with pytest.raises(errors.Unreadable, match=words) as caught:
        preprocess.read(tmp_path / "bad.png", 64, max_megapixels=100)
    assert str(tmp_path / "bad.png") in str(caught.value)


@pytest.mark.parametrize(
    ("image", "kind", "colour"),
    [
        (Image.new("RGB", (1, 1), "red"), "PNG", (255, 0, 0)),
        (Image.new("RGB", (20_000, 1000), "red"), "JPEG", (254, 0, 0)),
        (Image.new("CMYK", (9, 9), (0, 255, 255, 0)), "JPEG", (254, 0, 0)),
        (Image.fromarray(np.full((9, 9), 200 * 257, np.uint16)), "PNG", (200, 200, 200)),
        (Image.fromarray(np.full((9, 9), 200 * 257, np.int32)), "TIFF", (200, 200, 200)),
    ],
    ids=["1 pixel", "20000 pixels wide", "CMYK", "16-bit gray", "16 bits in 32"],
)
def test_unusual_images_keep_their_colour(image, kind, colour):
    pixels = preprocess.fit(preprocess.read(io.BytesIO(encoded(image, kind)), 64), 64)
    assert pixels.shape == (64, 64, 3)
    assert np.abs(pixels[32, 32].astype(int) - colour).max() <= 2


@pytest.mark.parametrize("size", [(20_000, 1), (1, 20_000)])
def test_a_hair_of_an_image_is_read(size):
    assert preprocess.fit(Image.new("RGB", size), 64).shape == (64, 64, 3)


SEEDS = [
    encoded(Image.fromarray(NOISE[:12, :10]).convert(mode), kind, **options)
    for mode, kind, options in (
        ("RGB", "JPEG", {}),
        ("CMYK", "JPEG", {}),
        ("RGBA", "PNG", {}),
        ("P", "PNG", {}),
        ("RGB", "WEBP", {}),
        ("RGB", "BMP", {}),
        ("RGB", "TIFF", {"compression": "tiff_lzw"}),
        ("I", "TIFF", {}),
    )
]


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 10_000), st.binary(max_size=3)), max_size=6),
)
@example(SEEDS[0], [(2, b"")])
def test_damaged_bytes_are_read_or_refused(content, edits):
    for place, inserted in edits:
        place %= len(content) + 1
        content = content[:place] + inserted + content[place + 1 :]
    try:
        pixels = preprocess.fit(preprocess.read(io.BytesIO(content), 16, max_megapixels=1), 16)
    except errors.Unreadable:
        return
    assert pixels.shape == (16, 16, 3)


def folder(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"")
    return root


def linked(root: Path, link: str, target: str) -> Path:
    folder(root, "a/1.jpg", "b/1.jpg")
    (root / link).symlink_to(target)
    return root


FOLDERS = {
    "a link to itself": (
        lambda root: linked(root, "a/2.jpg", "2.jpg"),
        r"a/2\.jpg is no file, or a link that leads nowhere",
    ),
    "a link to nothing": (
        lambda root: linked(root, "b/2.png", "gone.png"),
        r"b/2\.png is no file, or a link that leads nowhere",
    ),
    "a name that is not UTF-8": (
        lambda root: folder(root, "a/\udce9.jpg", "b/1.jpg"),
        r"a/\?\.jpg has .* not UTF-8",
    ),
    "a line break in a name": (
        lambda root: folder(root, "a/1\n.jpg", "b/1.jpg"),
        r"name of .*/a/1\?\.jpg has a line",
    ),
    "a carriage return in a name": (
        lambda root: folder(root, "a/1\r.jpg", "b/1.jpg"),
        r"a/1\?\.jpg has a line",
    ),
    "a line break in a folder": (
        lambda root: folder(root, "a/b\n/1.jpg", "b/1.jpg"),
        r"a/b\?/1\.jpg has a line",
    ),
    "a line break in a class": (
        lambda root: folder(root, "a\nb/1.jpg", "c/1.jpg"),
        r"folder 'a\\nb' has a name with",
    ),
    "a pipe in a class": (
        lambda root: folder(root, "a|b/1.jpg", "c/1.jpg"),
        r"folder 'a\|b' has a name with",
    ),
    "a backtick in a class": (
        lambda root: folder(root, "`a`/1.jpg", "c/1.jpg"),
        r"folder '`a`' has a name with",
    ),
    "a space at a class's end": (
        lambda root: folder(root, "a /1.jpg", "c/1.jpg"),
        r"folder 'a ' has a name with",
    ),
    "an escape in a class": (
        lambda root: folder(root, "\x1b[31mred/1.jpg", "c/1.jpg"),
        r"has a name with",
    ),
    "classes that differ in case": (
        lambda root: folder(root, "Good/1.jpg", "good/1.jpg"),
        "'Good' and 'good'",
    ),
    "classes that differ in encoding": (
        lambda root: folder(root, "caf\u00e9/1.jpg", "cafe\u0301/1.jpg"),
        "same name but for case or the encoding",
    ),
    "classes with a column in common": (
        lambda root: folder(root, "good/1.jpg", "low_good/1.jpg"),
        "'good' and 'low_good' would share a column",
    ),
    "one class only": (lambda root: folder(root, "a/1.jpg"), r"holds 1 class folder\(s\)"),
    "no class": (lambda root: folder(root, "1.jpg"), r"holds 0 class folder\(s\)"),
    "no images": (lambda root: folder(root, "a/1.txt", "b/1.jpg"), r"a holds no images"),
    "an image's name on a folder": (
        lambda root: folder(root, "a/1.jpg/readme", "b/1.jpg"),
        r"a holds no images",
    ),
    "an empty split": (
        lambda root: folder(
            root, "train/a/1.jpg", "train/b/1.jpg", "val/readme", "test/a/1.jpg", "test/b/1.jpg"
        ),
        "class 'a' is missing from the val split",
    ),
    "a split without a class": (
        lambda root: folder(
            root,
            *(f"{split}/{label}/1.jpg" for split in splitting.SPLITS for label in "ab"),
            "train/c/1.jpg",
        ),
        "class 'c' is missing from the val split",
    ),
    "two folders for a split": (
        lambda root: folder(
            root,
            *(
                f"{split}/{label}/1.jpg"
                for label in "ab"
                for split in ("train", "val", "VALID", "test")
            ),
        ),
        "exactly one val folder",
    ),
    "a file for a folder": (
        lambda root: folder(root, "images.jpg") / "images.jpg",
        "is no folder",
    ),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_that_cannot_be_used_is_named(tmp_path, name):
    build, words = FOLDERS[name]
    with pytest.raises(UserError, match=words) as caught:
        image_folders.scan(build(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "label", ["-rf", "$(touch harm)", "a b", "p_good", 'a, "b"', "NA", "1", "{x}", "é"]
)
@pytest.mark.parametrize(
    "name", ["-rf.jpg", 'a, "c".jpg', "$(touch harm).jpg", "{x}'.jpg", "naïve ☕.jpg"]
)
def test_odd_names_come_back_from_the_tables_as_they_were(tmp_path, label, name):
    found = image_folders.scan(folder(tmp_path / "root", f"{label}/{name}", "other/1.jpg"))
    probabilities = pd.DataFrame({"p_other": [0.25, 0.25], f"p_{label}": [0.75, 0.75]})
    pd.concat([found.assign(predicted=label), probabilities], axis=1).to_csv(
        tmp_path / "table.csv", index=False
    )
    back = predictions.read(tmp_path / "table.csv")
    assert set(back["path"]) == {f"{label}/{name}", "other/1.jpg"}
    assert set(back["class"]) == {label, "other"}
    assert predictions.labels_of(back) == ["other", label]
    assert not list(tmp_path.rglob("harm"))


def script(name: str):
    """A stage's script as a module; several have the name of a module of the package."""
    spec = importlib.util.spec_from_file_location(f"script_{name}", PROJECT / f"scripts/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_manifest(tmp_path: Path, root: Path, on_leakage: str = "warn") -> pd.DataFrame:
    args = argparse.Namespace(
        threads=1,
        root=root,
        output_manifest=tmp_path / "manifest.csv",
        output_near_duplicates=tmp_path / "pairs.csv",
        settings={**DEFAULT["dataset"], "on_leakage": on_leakage},
    )
    script("dataset").main(args)
    return pd.read_csv(args.output_near_duplicates)


def test_three_images_are_too_few_to_split(tmp_path, image_folder):
    with pytest.raises(UserError, match=r"class .a. has too few distinct images for a \w+ share"):
        make_manifest(tmp_path, image_folder("a/1.png", "a/2.png", "b/1.png"))
    assert not (tmp_path / "manifest.csv").exists()


def test_dropping_leaks_may_not_empty_a_class(tmp_path, image_folder):
    root = image_folder(*(f"{split}/{label}/1.png" for split in splitting.SPLITS for label in "ab"))
    (root / "test/a/1.png").write_bytes((root / "train/a/1.png").read_bytes())
    with pytest.raises(UserError, match="class 'a' has no image left in train"):
        make_manifest(tmp_path, root, "drop")


def test_one_file_in_two_classes_is_told(tmp_path, image_folder, monkeypatch):
    monkeypatch.setattr(progress, "_terminal", io.StringIO())
    root = image_folder(
        *(
            f"{split}/{label}/{i}.png"
            for split in splitting.SPLITS
            for label in "ab"
            for i in range(2)
        )
    )
    (root / "train/b/0.png").write_bytes((root / "train/a/0.png").read_bytes())
    pairs = make_manifest(tmp_path, root)
    assert pairs["crosses_classes"].tolist() == [True]
    assert (
        "near-duplicates have two classes, such as train/a/0.png and train/b/0.png"
        in progress._terminal.getvalue()
    )


def leaves(value, where: tuple = ()):
    """Paths of the keys that hold a value of their own."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, (*where, key))
    else:
        yield where


def with_value(where: tuple, value) -> dict:
    result = copy.deepcopy(DEFAULT)
    place = result
    for key in where[:-1]:
        place = place[key]
    place[where[-1]] = value
    return result


WRONG = [
    float("nan"),
    float("inf"),
    -1,
    "",
    "never\n",
    [],
    [[]],
    {"a": 1},
    b"x",
    10**30,
    -0.5,
    [None],
]


def refusal(values: dict) -> str | None:
    """The sentence that a configuration is refused with; None where it is taken."""
    try:
        validation.validate(values, SCHEMA)
    except UserError as error:
        assert "\n" not in str(error)
        return str(error)
    return None


@pytest.mark.parametrize("where", list(leaves(DEFAULT)), ids=".".join)
def test_every_key_refuses_wrong_types_and_ranges_by_name(where):
    said = [refusal(with_value(where, value)) for value in WRONG]
    # Some are right for some keys: a file's name, an empty list, a number without an upper end.
    said = [sentence for sentence in said if sentence]
    assert len(said) >= 6
    # An empty list or dictionary in place of a section's name leads to the section.
    assert all(".".join(where) in sentence or where[0] in sentence for sentence in said)


@pytest.mark.parametrize(
    ("where", "value", "words"),
    [
        (
            ("train", "learning_rate"),
            float("nan"),
            "train.learning_rate is wrong: nan is not a finite number",
        ),
        (
            ("deploy", "max_p50_ms"),
            float("inf"),
            "deploy.max_p50_ms is wrong: inf is not a finite number",
        ),
        (
            ("backbones",),
            ["mobilenet_v3_small\n"],
            "backbones.0 is wrong: 'mobilenet_v3_small\\n' is no name",
        ),
        (("backbones",), ["$(touch harm)"], "'$(touch harm)' is no name"),
        (("backbones",), ["-rf"], "'-rf' is no name"),
        (
            ("variants", "../x"),
            DEFAULT["variants"]["int8_dynamic"],
            "variants is wrong: '../x' is no name",
        ),
        (("variants", "a b"), DEFAULT["variants"]["int8_dynamic"], "'a b' is no name"),
        (
            ("variants", "{backbone}"),
            DEFAULT["variants"]["int8_dynamic"],
            "'{backbone}' is no name",
        ),
        (("variants", 8), DEFAULT["variants"]["int8_dynamic"], "8 is no name"),
        (
            ("variants", "latency"),
            DEFAULT["variants"]["int8_dynamic"],
            "latency.json is the bench's file",
        ),
        (("calibration", "a;b"), DEFAULT["calibration"]["minmax"], "'a;b' is no name"),
        (
            ("dataset", "good_classes"),
            ["good", 1],
            "dataset.good_classes.1 is wrong: 1 is not of type 'string'",
        ),
        (("dataset", "root"), "", "dataset.root is wrong"),
        (("dataset", 7), 1, "unknown key 'dataset.7'"),
    ],
)
def test_what_would_reach_a_path_or_a_command_is_checked_first(where, value, words):
    assert words in refusal(with_value(where, value))


CONFIGURATIONS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 10**12)
    | st.floats()
    | st.text(max_size=8)
    | st.dates(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=6) | st.integers(0, 3), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=120, deadline=None, derandomize=True, database=None)
@given(st.sampled_from(list(leaves(DEFAULT))), st.integers(1, 3), CONFIGURATIONS)
@example(("variants",), 1, None)
@example(("train", "epochs"), 1, [])
def test_any_configuration_is_taken_or_refused_in_one_sentence(where, depth, value):
    sentence = refusal(with_value(where[:depth], value))
    assert sentence is None or where[0] in sentence or "variants" in sentence


class Harm:
    """What a pickle may do when it is loaded as pickles are."""

    def __reduce__(self):
        return os.mkdir, ("harm",)


def other_network() -> dict:
    return {"features.0.weight": torch.zeros(3)}


def damaged_archive() -> bytes:
    file = io.BytesIO()
    torch.save(other_network(), file)
    content = bytearray(file.getvalue())
    content[60:90] = bytes(30)
    return bytes(content)


def saved(value) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def odd_archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("readme.txt", "no weights")
    return file.getvalue()


def body_with(value: float) -> dict:
    state = backbones.build("squeezenet1_1", 2).state_dict()
    state["features.0.weight"][0] = value
    return state


def scalar_head() -> dict:
    return {**body_with(0), "classifier.1.weight": torch.tensor(0.0)}


WEIGHTS = {
    "of another network": (
        lambda: saved(other_network()),
        "does not fit squeezenet1_1: Missing key",
    ),
    "a pickle that runs code": (
        lambda: saved({"features.0.weight": Harm()}),
        "is not a plain state dict",
    ),
    "code in place of weights": (lambda: saved(Harm()), "is not a plain state dict"),
    "a whole module": (lambda: saved(torch.nn.Linear(2, 2)), "is not a plain state dict"),
    "within another dictionary": (
        lambda: saved({"state_dict": other_network()}),
        "is not a plain state dict",
    ),
    "a list": (lambda: saved([torch.zeros(2)]), "is not a plain state dict"),
    "empty": (lambda: saved({}), "is not a plain state dict"),
    "with numbers for names": (lambda: saved({0: torch.zeros(2)}), "is not a plain state dict"),
    "sparse": (lambda: saved({"a": torch.eye(2).to_sparse()}), "is not a plain state dict"),
    "without values": (lambda: saved({"a": torch.eye(2).to("meta")}), "is not a plain state dict"),
    "with a scalar head": (lambda: saved(scalar_head()), "does not fit squeezenet1_1: size m"),
    "damaged": (damaged_archive, "is not a plain state dict"),
    "an archive of something else": (odd_archive, "is not a plain state dict"),
    "with a NaN": (
        lambda: saved(body_with(float("nan"))),
        "values in features.0.weight that are not finite",
    ),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_that_do_not_fit_are_refused_and_run_nothing(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    build, words = WEIGHTS[name]
    Path("weights.pth").write_bytes(build())
    with pytest.raises(UserError, match=words) as caught:
        pretrained_weights.load_weights(
            backbones.build("squeezenet1_1", 2), "squeezenet1_1", "weights.pth"
        )
    assert "weights.pth" in str(caught.value)
    assert not Path("harm").exists()


def test_weights_are_never_loaded_in_a_way_that_runs_code():
    loads = [
        (file, node)
        for file in (PROJECT / "scripts").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("torch.load", "pickle.load", "pickle.loads")
    ]
    assert len(loads) >= 3
    for file, node in loads:
        assert any(
            keyword.arg == "weights_only" and ast.literal_eval(keyword.value)
            for keyword in node.keywords
        ), file


def poisoned(model: Path, location: str) -> None:
    """A model whose weights are to be read from a file that it names."""
    weight = TensorProto(
        name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL
    )
    weight.external_data.add(key="location", value=location)
    tensors = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4])
        for name in ("image", "logits")
    ]
    nodes = [helper.make_node("Add", ["image", "w"], ["logits"])]
    graph = helper.make_graph(nodes, "g", tensors[:1], tensors[1:], [weight])
    opset = helper.make_opsetid("", 18)
    model.write_bytes(
        helper.make_model(graph, opset_imports=[opset], ir_version=10).SerializeToString()
    )


@pytest.mark.parametrize("location", ["../secret", "{folder}/secret"])
def test_a_model_that_reads_elsewhere_is_refused(tmp_path, location):
    (tmp_path / "secret").write_bytes(bytes(16))
    model = tmp_path / "results/fp32.onnx"
    model.parent.mkdir()
    good = helper.make_model(helper.make_graph([], "g", [], []))
    onnx.save(good, model)
    model_metadata.write(
        model.with_suffix(".json"), model, labels=[], preprocessing={}, session={}, recipe={}
    )
    poisoned(model, location.format(folder=tmp_path))
    args = argparse.Namespace(
        threads=1,
        metadata=model.with_suffix(".json"),
        integer_rewrites=False,
        output_model=tmp_path / "prepared.onnx",
    )
    with pytest.raises(UserError, match=r"fp32\.onnx is not the model that .*fp32\.json describes"):
        script("prepare").main(args)
    # With metadata that was forged too, nothing outside is read.
    model_metadata.write(
        model.with_suffix(".json"), model, labels=[], preprocessing={}, session={}, recipe={}
    )
    with pytest.raises(Exception, match=r"outside|absolute path"):
        script("prepare").main(args)
    with pytest.raises(Exception, match=r"External data path"):
        onnx_session.load(model.with_suffix(".json"))
    assert not args.output_model.exists()


def test_metadata_of_another_version_is_named(tmp_path):
    files.write_json(tmp_path / "int8.json", {"model": "int8.onnx", "sha256": ""})
    with pytest.raises(
        UserError, match=r"int8\.json has no 'labels', so another version of the project made it"
    ):
        onnx_session.load(tmp_path / "int8.json")


@pytest.mark.parametrize("damaged", ["", "{", "[1]", '{"a": '])
def test_a_damaged_cache_is_made_again(tmp_path, image_folder, damaged):
    root = image_folder("a/1.png", "b/1.png")
    expected = image_folders.fingerprint(root, tmp_path / "whole.json")
    (tmp_path / "cache.json").write_text(damaged)
    assert image_folders.fingerprint(root, tmp_path / "cache.json") == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train: [1", "Config file is not valid JSON or YAML"),
        ("- a", "Config file must be given as JSON or YAML with keys at top level"),
        ("variants: null", "config: variants is wrong: None is not of type 'object'"),
        ("train: {epochs: 3}\ntrain: {}", "sweep.yaml: the key 'train' of line 1 is there again"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path, text, words):
    (tmp_path / "sweep.yaml").write_text(text)
    result = snakemake(tmp_path, "--dry-run", "--cores", "1")
    assert result.returncode != 0
    # A dry run prints to standard output.
    assert words in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr


def test_a_fault_of_the_configuration_is_one_line(tmp_path):
    configure(tmp_path, train={"epochs": 0})
    result = snakemake(tmp_path, "--cores", "1")
    assert result.returncode == 1
    assert (
        result.stderr.splitlines()[-1]
        == "beansweep: config: train.epochs is wrong: 0 is less than the minimum of 1"
    )
    assert not any(word in result.stderr for word in ("Traceback", 'File "', "Exception"))


def test_a_folder_of_any_name_reaches_the_stage_as_it_is(tmp_path, image_folder):
    name = "-rf $(touch harm) `touch harm` {backbone} 'a\" \\ ; touch harm #é"
    images = image_folder(
        *(
            f"{split}/{label}/{i} $(touch harm)'.png"
            for split in splitting.SPLITS
            for label in ("good", "-x")
            for i in range(2)
        )
    )
    images.rename(tmp_path / name)
    configure(tmp_path, dataset={"root": name})
    result = snakemake(tmp_path, "--cores", "1", "results/dataset/manifest.csv")
    assert result.returncode == 0, result.stderr
    assert len(pd.read_csv(tmp_path / "results/dataset/manifest.csv")) == 12
    assert not list(tmp_path.rglob("harm"))


def test_a_stage_says_one_sentence_and_logs_the_traceback(tmp_path):
    (tmp_path / "images").mkdir()
    command = [
        sys.executable,
        PROJECT / "scripts/dataset.py",
        "--settings",
        "{}",
        "--log",
        tmp_path / "dataset.log",
        "--root",
        tmp_path / "é\nè",
        "--output-manifest",
        tmp_path / "m.csv",
        "--output-near-duplicates",
        tmp_path / "n.csv",
    ]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stdout == ""
    started, said = result.stderr.splitlines()
    assert started.startswith("starting dataset")
    assert said.startswith("dataset: dataset.root: the folder ")
    assert "Traceback" in (tmp_path / "dataset.log").read_text()
