"""The sections of the report say what the figures say."""

import re
from dataclasses import replace

import pandas as pd
import pytest
import synthetic
from beansweep.common import files
from beansweep.data import rendered_beans
from beansweep.report import report_data, sections

BACKBONES, VARIANTS = ["mobilenet_v3_small", "resnet18"], ["fp32", "int8_ort_default"]
SETTINGS = synthetic.report_settings(BACKBONES, VARIANTS)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The results of a sweep that is made up."""
    folder = tmp_path_factory.mktemp("made-up")
    synthetic.write(folder, BACKBONES, VARIANTS, images=8)
    return folder / "results"


def read(results, **changes):
    data_set = results / "dataset"
    return report_data.read(
        {**SETTINGS, **changes},
        results,
        data_set / "manifest.csv",
        data_set / "near_duplicates.csv",
        results / "finalists.json",
        results.parent / "images",
    )


def headings(text):
    return re.findall(r"^#+ (.*)$", text, re.MULTILINE)


def test_every_section_has_its_heading_and_is_in_the_report_in_its_order(results):
    sweep = read(results)
    written = [section(sweep) for section in sections.SECTIONS]
    for text in filter(None, written):
        assert text.startswith("#")
        assert text == text.strip()
    whole = sections.text(sweep)
    assert headings(whole) == [title for text in written for title in headings(text)]
    assert whole.endswith("\n")
    assert "\n\n\n" not in whole


def test_a_sweep_of_fp32_alone_has_a_report_without_sections_of_int8(tmp_path):
    synthetic.write(tmp_path, BACKBONES, ["fp32"], images=8)
    result = synthetic.report(tmp_path, BACKBONES, ["fp32"])
    assert result.returncode == 0, result.stderr
    report = (tmp_path / "results/pareto.md").read_text()
    found = headings(report)
    assert {"The front", "All candidates", "Latency"} <= set(found)
    assert not [heading for heading in found if "INT8" in heading or "processors" in heading]
    assert "INT8 against its own FP32" not in report
    figures = [path.name for path in (tmp_path / "results/figures").iterdir()]
    assert "front.png" in figures
    assert "accuracy_drops.png" not in figures
    assert (tmp_path / "results/report.html").exists()


def test_where_images_are_shipped_or_rejected_every_table_of_candidates_says_what_it_costs(results):
    sweep = read(results)
    row = sweep.table.loc["resnet18:int8_ort_default"]
    cost = (
        f"{row['test_rejected_good_rate']:.1%} ({row['test_rejected_good_rate_low']:.1%} to "
        f"{row['test_rejected_good_rate_high']:.1%})"
    )
    tables_of = {
        sections.int8: 1,
        sections.test_images: 2,
        sections.accuracy_drops: 1,
        sections.all_candidates: 1,
        sections.latency: 1,
    }
    for section, tables in tables_of.items():
        rows = [
            line
            for line in section(sweep).splitlines()
            if line.startswith("| `resnet18` | `int8_ort_default` |")
        ]
        assert [cost in line for line in rows[:tables]] == [True] * tables, section.__name__
    assert (
        f"| `resnet18` | `int8_ort_default` | {row['test_missed_defect_rate_at_fp32']:.1%} |"
        in (sections.operating_points(sweep))
    )


def test_without_a_good_class_no_section_speaks_of_defects(results):
    deploy = {**SETTINGS["deploy"], "max_missed_defect_rate": None, "min_macro_f1": 0.1}
    sweep = read(results, good_classes=None, deploy=deploy)
    text = sections.text(sweep)
    assert "Operating points" not in headings(text)
    for word in ("defect", "reject", "threshold", "nan", "| good |"):
        assert word not in text
    assert "| class | images | precision |" in text


def test_variants_that_are_the_same_file_are_one_row_with_all_their_names(tmp_path):
    variants = ["fp32", "int8_static", "int8_weight_only"]
    synthetic.write(tmp_path, BACKBONES, variants, images=8)
    for backbone in BACKBONES:
        folder = tmp_path / "results" / backbone
        same = files.read_json(folder / "int8_static.json")
        files.write_json(folder / "int8_weight_only.json", same)
    sweep = read(tmp_path / "results", variants=variants)
    lines = sections.all_candidates(sweep).splitlines()
    assert sum("| `int8_static` (also `int8_weight_only`) |" in line for line in lines) == 2
    assert not [line for line in lines if "| `int8_weight_only`" in line]


def test_a_section_is_added_by_a_function_and_an_entry_of_the_list(results, monkeypatch):
    def cost(sweep):
        return f"## Cost\n\n{len(sweep.table)} candidates were paid for."

    monkeypatch.setattr(sections, "SECTIONS", [*sections.SECTIONS, cost])
    assert sections.text(read(results)).endswith("## Cost\n\n4 candidates were paid for.\n")


def test_the_report_names_the_trainings_that_it_lacks_at_its_top(results):
    lines = sections.text(read(results, missing={"resnet18.seed1": "train: no memory"})).split("\n")
    assert "**Incomplete.**" in lines[2]
    assert lines[4] == "> - `resnet18.seed1`: train: no memory"
    assert sections.missing({}) == ""


def test_what_the_default_recipe_does_is_one_sentence_a_backbone(results):
    text = sections.default_recipe(read(results))
    assert "`int8_ort_default` is static quantization as most people run it" in text
    lines = [line for line in text.splitlines() if line.startswith("- ")]
    assert [re.findall("`(.*?)`", line)[0] for line in lines] == BACKBONES
    for line in lines:
        assert re.search(r"accuracy drop of \S+ \(\S+ to \S+\) and an agreement with FP32 of", line)


def test_without_a_static_baseline_there_is_no_such_section(results):
    assert sections.default_recipe(read(results, baselines=[])) == ""


@pytest.mark.parametrize(
    ("low", "high", "kernels", "words"),
    [
        (-0.02, -0.01, 0.0, "the interval is below 0: INT8 is better on these images."),
        (-0.01, 0.15, 0.0, "the interval includes 0, so these images do not show a drop."),
        (0.05, 0.15, 0.09, "the cause is the integer kernels: the drop of the same file in float"),
        (
            0.05,
            0.15,
            0.01,
            "the cause is quantization itself, not the kernels: the drop of the same",
        ),
    ],
)
def test_the_cause_of_a_drop_is_the_larger_part(low, high, kernels, words):
    row = pd.Series(
        {
            "backbone": "net",
            "variant": "int8",
            "also": [],
            "test_drop": 0.1,
            "test_drop_low": low,
            "test_drop_high": high,
            "test_agreement": 0.9,
            "kernel_drop": kernels,
            "quantization_drop": 0.1 - kernels,
            "finding": "a finding",
        }
    )
    text = sections.default_drop(row)
    assert words in text
    assert "+0.100" in text
    assert ("a finding" in text) == (low > 0)


def test_a_variant_that_is_too_slow_to_win_has_fewer_queries_and_it_is_said(results):
    sweep = read(results)
    assert "where it is too slow" not in sections.latency(sweep)
    for timed in sweep.benches.values():
        timed["variants"]["fp32"]["queries"] = 800
        timed["variants"]["int8_ort_default"]["queries"] = 80
    assert "has\n800 queries (80 where it is too slow to win) over" in sections.latency(sweep)


def bench(again=(0.99, 1.0, 1.01), control_model=1.0):
    low, ratio, high = again
    return {
        "controls": {
            "fp32_again": {"speedup": ratio, "speedup_low": low, "speedup_high": high},
            "control_model": {"p50_ms": control_model},
        }
    }


@pytest.mark.parametrize(
    ("again", "control_model", "words"),
    [
        ((0.99, 1.0, 1.01), 1.0, None),
        ((0.90, 1.0, 1.10), 1.0, "Too noisy: differences in speed of less than 11% mean"),
        ((1.01, 1.02, 1.03), 1.0, "leaves out 1"),
        ((0.99, 1.0, 1.01), 1.2, "another speed than in the other benchmarks"),
    ],
)
def test_a_noisy_or_drifting_machine_is_said(again, control_model, words):
    text = sections.noise(
        {"quiet": bench(), "also_quiet": bench(), "this": bench(again, control_model)}
    )
    quiet, also, this = text.splitlines()
    assert "**" not in quiet + also
    assert words in this if words else this.endswith("benchmarks).")


def test_one_seed_leaves_the_effect_of_the_seed_open(results):
    assert "not measured" in sections.training(read(results))
    seeds = {"mobilenet_v3_small": ["mobilenet_v3_small", "resnet18"], "resnet18": ["resnet18"]}
    text = sections.training(read(results, runs=seeds))
    assert "standard deviation over seeds" in text
    assert "not measured" not in text


def test_the_images_are_described_and_what_is_wrong_with_them_named():
    manifest = pd.DataFrame(
        {
            "path": ["a/1.png", "b/1.png"],
            "class": ["a", "b"],
            "split": ["train", "test"],
            "width": [10, 30],
            "height": [20, 20],
            "contrast": [0.5, 40],
        }
    )
    pairs = pd.DataFrame(
        {
            "first_path": ["a/1.png"],
            "second_path": ["b/1.png"],
            "crosses_splits": [True],
            "crosses_classes": [True],
        }
    )
    text = sections.data_checks(manifest, pairs, "warn", ["b/2.png"])
    for words in (
        "from 10 x 20 to 30 x 20 pixels",
        "1, such as a/1.png",
        "the test figures may be too high",
        "1 pair of near-duplicates with two classes",
        "**1 image cannot be read** and is in no figure, such as b/2.png",
        "fewer than 10 images leave the recall of a class open** (1 of 'b' in test)",
    ):
        assert words in text
    assert "was dropped" in sections.data_checks(manifest, pairs, "drop", [])
    clean = manifest.assign(contrast=40, width=10, split="train")
    clean = sections.data_checks(clean, pairs.head(0), "warn", [])
    assert "**" not in clean
    assert "all are 10 x 20 pixels" in clean


def test_images_that_were_skipped_are_counted_with_the_data(tmp_path):
    synthetic.write(tmp_path, BACKBONES, VARIANTS, images=8)
    for label in rendered_beans.CLASSES:
        path = tmp_path / f"images/train/{label}/damaged.jpg"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"damaged")
    results = tmp_path / "results"
    text = sections.data_set(read(results, on_unreadable="skip"))
    count = len(rendered_beans.CLASSES)
    assert f"- Skipped: **{count} images cannot be read** and are in no figure, such as" in text
    assert "Skipped" not in sections.data_set(read(results))


def test_a_variant_that_a_backbone_lacks_is_listed_with_its_reason(results):
    found = read(results, left_out={"mobilenet_v3_small": ["int8_ort_default"]})
    text = sections.unavailable(found)
    assert "| `mobilenet_v3_small` | `int8_ort_default` | taken out in overrides |" in text
    assert "resnet18" not in text
    whole = sections.text(found)
    assert text in whole
    assert "## FP32 and INT8 side by side" in whole
    assert sections.unavailable(read(results)) == ""


def test_a_sweep_in_which_no_backbone_has_a_variant_has_a_report(results):
    left_out = {backbone: ["int8_ort_default"] for backbone in BACKBONES}
    found = read(results, left_out=left_out)
    assert not found.has_int8
    assert sections.text(found).count("taken out in overrides") == 2


def test_a_speedup_has_the_limit_of_integer_kernels_next_to_it(results):
    sweep = read(results)
    table = sweep.table.assign(speedup_limit=[None, 4.04] * len(BACKBONES))
    text = sections.latency(replace(sweep, candidates=replace(sweep.candidates, table=table)))
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
    limit = rows[0].index("limit")
    found = {row[1]: row[limit] for row in rows[1:] if len(row) > limit}
    assert (found["`fp32`"], found["`int8_ort_default`"]) == ("", "4.0x")
    assert "The limit of a speed-up is" in text


def test_who_is_shown_to_be_worse_is_named_and_who_is_not(results):
    table = read(results).table[["backbone", "variant", "test_macro_f1", "also"]].copy()
    best, *others = table.sort_values("test_macro_f1", ascending=False).index
    table["test_beaten_by"] = [[] for _ in table.index]
    text = sections.indistinguishable(table)
    assert text.endswith(". No candidate is shown to be worse than another.")
    table.at[others[-1], "test_beaten_by"] = [best]
    text = sections.indistinguishable(table)
    assert len(others) == 3
    assert len(re.findall("`resnet18`|`mobilenet_v3_small`", text)) == 4
    assert "These are not shown to be worse than any other: " in text
    assert text.count("worse than another candidate: ") == 1
