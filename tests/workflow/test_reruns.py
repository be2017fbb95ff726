"""A change reruns what depends on it and nothing else: dry runs over one finished tiny sweep."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from conftest import PROJECT, TINY, check_out, configure, jobs_of, snakemake

DEFAULT = yaml.safe_load((PROJECT / "config.yaml").read_text())
ORT_DEFAULT = DEFAULT["variants"]["int8_ort_default"]


def times(count: int, jobs: dict[str, int]) -> dict[str, int]:
    return {rule: count * number for rule, number in jobs.items()}


# Jobs of one backbone with all that follows from them, but for the report: that is one for all.
BENCH = {"bench": 1}
MIXED = {"quantize_mixed": 1, "evaluate": 1, "evaluate_float_kernels": 1, **BENCH}
QAT = {"quantize_qat": 1, "evaluate": 1, "evaluate_float_kernels": 1, **BENCH}
# What percentile is for: int8_static and, through it, int8_mixed and int8_qat.
STATIC = {
    "quantize_int8": 1,
    "sensitivity": 1,
    "quantize_mixed": 1,
    "quantize_qat": 1,
    "evaluate": 3,
    "evaluate_float_kernels": 3,
    **BENCH,
}
INT8 = {
    "quantize_int8": 3,
    "sensitivity": 2,
    "quantize_mixed": 1,
    "quantize_qat": 1,
    "evaluate": 5,
    "evaluate_float_kernels": 5,
    **BENCH,
}
CALIBRATED = {"calibrate": 3, **INT8}
PREPARED = {"prepare": 2, **CALIBRATED}
EXPORTED = {"export_fp32": 1, **PREPARED, "evaluate": 6}
TRAINED = {"train": 1, **EXPORTED}
# The finalists are chosen from the table of the report.
REPORT = {"bench_finalists": 1, "report": 1}
# Every recipe is tried before a training, and not again for another recipe.
INSPECTED = {"inspect_backbone": 1}
DATA = {"dataset": 1, "decode": 1, **times(2, {**INSPECTED, **TRAINED}), **REPORT}

CONFIGURATION = {
    "deploy": ({"deploy": {"max_p50_ms": 5}}, REPORT),
    "one backbone less": ({"backbones": TINY["backbones"][:1]}, REPORT),
    # Another network, or the same at another image size, costs its own jobs and the report.
    "a network of timm": (
        {"backbones": [*TINY["backbones"], "timm/ghostnet_050"]},
        {**INSPECTED, **TRAINED, **REPORT},
    ),
    "another image size": (
        {"backbones": [*TINY["backbones"], "squeezenet1_1@64"]},
        {"decode": 1, **INSPECTED, **TRAINED, **REPORT},
    ),
    # Keys of pretrained weights, which nothing here starts from.
    "fine-tuning": ({"train": {**TINY["train"], "body_rate": 0.5, "frozen_epochs": 0}}, {}),
    "the time for finalists": ({"bench": {**TINY["bench"], "finalist_minutes": 0.01}}, REPORT),
    "confidence": ({"report": {"confidence": 0.9}}, REPORT),
    "margin": ({"report": {"non_inferiority_margin": 0.02}}, REPORT),
    # A second seed is trained and evaluated in FP32; all else belongs to the first.
    "seeds": (
        {"train": {**TINY["train"], "seeds": [0, 5]}},
        {"train": 2, "export_fp32": 2, "evaluate": 2, "report": 1},
    ),
    "rounds": ({"bench": {**TINY["bench"], "rounds": 3}}, {**times(2, BENCH), **REPORT}),
    "calibration count": (
        {"calibration": {**TINY["calibration"], "percentile": {"images": 5}}},
        {"calibrate": 2, **times(2, STATIC), **REPORT},
    ),
    "qat's epochs": (
        {"variants": {**TINY["variants"], "int8_qat": {"epochs": 2}}},
        {**times(2, QAT), **REPORT},
    ),
    "max_accuracy_drop": (
        {"quantization": {"max_accuracy_drop": 0.5}},
        {**times(2, MIXED), **REPORT},
    ),
    "one variant more": (
        {"variants": {**TINY["variants"], "int8_tensor": {**ORT_DEFAULT, "per_channel": False}}},
        {
            **times(
                2,
                {
                    "quantize_int8": 1,
                    "sensitivity": 1,
                    "evaluate": 1,
                    "evaluate_float_kernels": 1,
                    **BENCH,
                },
            ),
            **REPORT,
        },
    ),
    "one backbone's epochs": (
        {"overrides": {"squeezenet1_1": {"epochs": 3}}},
        {**TRAINED, **REPORT},
    ),
    "one backbone without a variant": (
        {"overrides": {"squeezenet1_1": {"variants": {"int8_qat": None}}}},
        {**BENCH, **REPORT},
    ),
    "rendering": ({"generate": {**TINY["generate"], "seed": 1}}, {"generate": 1, **DATA}),
}
# Edits of a file: what its text has first, and what is put in that place; "" is the end.
STATEMENT = ("", "\n_EDITED = True\n")
COMMENT = ("", "\n# Edited.\n")
DOCSTRING = ('"""', '"""Edited. ')
# File below scripts/ -> jobs of one backbone that rerun after an edit of it.
MODULES = {
    "beansweep/models/training.py": {**INSPECTED, **TRAINED},
    "beansweep/models/export.py": EXPORTED,
    # int8_static is chosen by predictions.
    "beansweep/evaluation/predictions.py": {**INT8, "evaluate": 6},
    "beansweep/quantization/integer_rewrites.py": PREPARED,
    "beansweep/quantization/calibration.py": CALIBRATED,
    "beansweep/quantization/range_narrowing.py": CALIBRATED,
    "beansweep/quantization/static.py": INT8,
    "beansweep/quantization/gptq.py": INT8,
    "beansweep/quantization/exact_scales.py": INT8,
    "beansweep/quantization/weight_only.py": INT8,
    "beansweep/quantization/dynamic.py": INT8,
    "beansweep/quantization/sensitivity.py": {"sensitivity": 2, **MIXED},
    "beansweep/quantization/mixed.py": MIXED,
    "beansweep/quantization/qat.py": QAT,
    "beansweep/quantization/fake_quantization.py": QAT,
    "beansweep/benchmark/latency.py": BENCH,
    "beansweep/benchmark/worker.py": BENCH,
    "quantize_int8.py": INT8,
}
CODE = {name: (name, STATEMENT, {**times(2, jobs), **REPORT}) for name, jobs in MODULES.items()}
CODE |= {
    "the preprocessing": ("beansweep/data/preprocess.py", STATEMENT, DATA),
    "how images are decoded in bulk": (
        "beansweep/data/images.py",
        STATEMENT,
        {name: count for name, count in DATA.items() if name != "dataset"},
    ),
    # A dry run does not know that the manifest will be the same.
    "near-duplicates": ("beansweep/data/near_duplicates.py", STATEMENT, DATA),
    "the pick": ("beansweep/analysis/pick.py", STATEMENT, REPORT),
    "the finalists": ("beansweep/benchmark/joint_latency.py", STATEMENT, REPORT),
    "the report's text": ("beansweep/report/sections.py", STATEMENT, {"report": 1}),
    "the report's page": (
        "beansweep/report/page.html",
        ("", "<!-- Edited. -->\n"),
        {"report": 1},
    ),
    "the report": ("report.py", STATEMENT, {"report": 1}),
    # A bundle is made when it is asked for.
    "the bundle": ("beansweep/deploy/bundle.py", STATEMENT, {}),
    "how the configuration is read": ("beansweep/settings/sweep.py", STATEMENT, {}),
    "how stages talk": ("beansweep/common/stage.py", STATEMENT, {}),
    "a comment": ("beansweep/models/training.py", COMMENT, {}),
    "a docstring": ("beansweep/models/training.py", DOCSTRING, {}),
}


def add(images: Path) -> None:
    shutil.copy(next(images.glob("test/good/*")), images / "train/good/another.jpg")


def remove(images: Path) -> None:
    next(images.glob("train/good/*")).unlink()


def relabel(images: Path) -> None:
    next(images.glob("train/good/*")).rename(images / "train/black/moved.jpg")


def corrupt(images: Path) -> None:
    image = next(images.glob("test/good/*"))
    content = bytearray(image.read_bytes())
    content[len(content) // 2] ^= 1
    image.write_bytes(content)


def touch(images: Path) -> None:
    for path in images.rglob("*"):
        path.touch()


IMAGES = {
    "add an image": (add, DATA),
    "remove an image": (remove, DATA),
    "relabel an image": (relabel, DATA),
    "corrupt an image": (corrupt, DATA),
    "touch all images": (touch, {}),
}


@pytest.fixture(scope="module")
def photographs(finished, tmp_path_factory):
    """The finished sweep, with its images as a user's own folder."""
    folder = tmp_path_factory.mktemp("photographs") / "sweep"
    shutil.copytree(finished, folder)
    (folder / "results/dataset/generated").rename(folder / "images")
    configure(folder, dataset={"root": "images"})
    result = snakemake(folder, "--cores", "1", "--touch", "results/pareto.md")
    assert result.returncode == 0, result.stderr
    return folder


def edit(path: Path, old: str, new: str) -> None:
    """Replace the first `old` in a file; add to its end where `old` is empty."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1) if old else text + new)


def dry_run(run: tuple[Path, dict]):
    """A dry run of the whole report: in a folder, with options of `conftest.snakemake`."""
    folder, options = run
    return snakemake(folder, "--dry-run", "--cores", "2", "results/pareto.md", **options)


@pytest.fixture(scope="module")
def plans(finished, photographs, tmp_path_factory):
    """What each change of the tables reruns: its name -> jobs.

    Dry runs change nothing, so they go in parallel.
    """
    runs = {}
    for name, (changes, _) in CONFIGURATION.items():
        configure(finished, f"{name}.yaml", **changes)
        runs[name] = (finished, {"sweep": f"{name}.yaml"})
    for name, (file, (old, new), _) in CODE.items():
        snakefile = check_out(tmp_path_factory.mktemp("project"))
        edit(snakefile.parent / "scripts" / file, old, new)
        runs[name] = (finished, {"snakefile": snakefile})
    for name, (change, _) in IMAGES.items():
        shutil.copytree(photographs / "images", photographs / name)
        change(photographs / name)
        configure(photographs, f"{name}.yaml", dataset={"root": name})
        runs[name] = (photographs, {"sweep": f"{name}.yaml"})
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(dry_run, runs.values()))
    for folder in (finished, photographs):
        for name in runs:
            (folder / f"{name}.yaml").unlink(missing_ok=True)
    return dict(zip(runs, map(jobs_of, results), strict=True))


@pytest.mark.parametrize("change", [*CONFIGURATION, *CODE, *IMAGES])
def test_a_change_reruns_what_depends_on_it_alone(plans, change):
    assert plans[change] == {**CONFIGURATION, **CODE, **IMAGES}[change][-1]


@pytest.fixture(scope="module")
def elsewhere(finished, tmp_path_factory):
    """A fresh checkout elsewhere, with copied results next to it: in any order, at another time."""
    folder = tmp_path_factory.mktemp("elsewhere")
    snakefile = check_out(folder)
    for name in ("results", ".snakemake"):
        shutil.copytree(finished / name, folder / name, copy_function=shutil.copyfile)
    shutil.copy(finished / "sweep.yaml", folder)
    time = 1.7e9
    for path in sorted(folder.glob("results/**/*"), reverse=True):
        os.utime(path, (time, time))
        time += 1
    return snakefile


def test_a_moved_project_with_other_times_and_cores_reruns_nothing(elsewhere):
    result = snakemake(
        elsewhere.parent, "--dry-run", "--cores", "1", "results/pareto.md", snakefile=elsewhere
    )
    assert jobs_of(result) == {}
    assert "other versions" not in result.stderr


def test_other_versions_are_told_and_rerun_nothing(elsewhere):
    log = elsewhere.parent / "results/logs/squeezenet1_1/train.log"
    first, _, rest = log.read_text().partition("\n")
    assert first.startswith("made with python ")
    log.write_text(first.replace(", torch ", ", torch 1.") + "\n" + rest)
    for arguments in (
        ["--dry-run", "--cores", "1", "results/pareto.md"],
        ["results/pareto.md", "--dag", "dot"],
    ):
        result = snakemake(elsewhere.parent, *arguments, snakefile=elsewhere)
        lines = result.stderr.splitlines()
        told = [line for line in lines if line.startswith("other versions made")]
        assert len(told) == 1
        assert "made 1 of the results, such as that of results/logs/squeezenet1_1/train" in told[0]
        assert "(torch 1." in told[0]
        assert "other versions" not in result.stdout
    assert result.stdout.startswith("digraph")
