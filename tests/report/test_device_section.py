"""The section of a device: what it decides in the emulator, and times from the device itself."""

import pandas as pd
import pytest
import synthetic
from beansweep.report import page, report_data, sections

BACKBONES, VARIANTS = ["mobilenet_v3_small"], ["fp32", "int8_static", "int8_ort_default"]
EMULATED, NAME = ["fp32", "int8_static"], "mobilenet_v3_small:int8_static"


@pytest.fixture
def read(tmp_path):
    """A function from the candidate that decides otherwise, and changes of settings, to a sweep."""
    # So many of the few defects may be missed that most good ones are shipped.
    deploy = {**synthetic.CONFIG["deploy"], "max_missed_defect_rate": 0.3}
    settings = synthetic.report_settings(
        BACKBONES, VARIANTS, emulated={"pi": "cortex-a76"}, deploy=deploy
    )

    def read(otherwise: str, every: int = 1, **changes) -> report_data.ReportData:
        synthetic.write(tmp_path, BACKBONES, VARIANTS, images=8)
        synthetic.emulate(tmp_path, BACKBONES, EMULATED, "pi", otherwise)
        results = tmp_path / "results"
        for path in results.glob("*/emulated/*/*.csv"):
            pd.read_csv(path)[::every].to_csv(path, index=False)
        tables = [results / f"dataset/{name}.csv" for name in ("manifest", "near_duplicates")]
        files = [*tables, results / "finalists.json"]
        return report_data.read(settings | changes, results, *files, tmp_path / "images")

    return read


@pytest.fixture
def section(read):
    """The same, to the text of all devices."""
    return lambda *arguments, **changes: sections.devices(read(*arguments, **changes))


def test_a_device_that_is_emulated_alone_has_decisions_and_no_pick(section):
    text = section("")
    assert "**pi decides as here on all 96 images**, with every candidate." in text
    assert "there is no pick for this device" in text
    for word in ("Pick", "p50", "ms"):
        assert word not in text.split()
    assert "`int8_ort_default`" not in text
    row = next(line for line in text.splitlines() if "| `int8_static` |" in line)
    assert row.endswith("| 0 of 96 | 0.0% to 3.8% | 0 |")


def test_figures_of_here_are_of_the_images_that_were_emulated(section):
    text = section("", every=5)
    assert "**pi decides as here on all 20 images**" in text
    for line in text.splitlines():
        if "| `int8_static` |" in line:
            cells = line.split(" | ")
            assert cells[2] == cells[3] and cells[4] == cells[5] and cells[6] == cells[7]


@pytest.fixture
def times(tmp_path):
    """The device's own times of each candidate."""
    paths = []
    for variant, p50 in (("fp32", 3.0), ("int8_static", 1.0), ("int8_ort_default", 2.0)):
        paths.append(str(synthetic.device(tmp_path, "mobilenet_v3_small", variant, p50)))
    return {"pi": paths}


def test_a_device_that_was_timed_in_one_process_has_no_interval(read, tmp_path):
    one = {"samples_ms": [[1.0, 1.1, 1.2]], "end_to_end_samples_ms": [[2.0, 2.1]]}
    one |= {"load_ms": [9], "first_query_ms": [3]}
    paths = [
        str(synthetic.device(tmp_path, BACKBONES[0], variant, p50, **one))
        for p50, variant in enumerate(VARIANTS)
    ]
    sweep = read("", devices={"pi": paths}, deploy=synthetic.NO_LIMITS)
    text = sections.devices(sweep)
    assert "p50 1.10 ms, " in text
    assert "- p50: its intervals are missing" in text
    assert "nan" not in text
    page.data(sweep, tmp_path / "images")


def test_times_and_emulated_accuracy_meet_in_one_section(section, times):
    text = section(NAME, devices=times)
    assert text.count("## On pi") == 1
    assert "there is no pick for this device" not in text
    assert "Accuracy is from the emulated `cortex-a76`, and of `mobilenet_v3_small`" in text
    assert "**pi decides otherwise on some of 96 images**: `mobilenet_v3_small` `int8_st" in text
    timed, emulated = [
        line.split(" | ") for line in text.splitlines() if "| `int8_static` |" in line
    ]
    # The fast one is no better than chance there, so the pick is not the pick of here.
    assert timed[4] == emulated[2] != emulated[3]
    assert float(timed[4]) < 0.6
    assert "min_macro_f1" in timed[3]
    assert "**Pick: `mobilenet_v3_small` `int8_static`**" not in text


def test_the_page_takes_accuracy_and_decisions_from_the_emulator_too(read, times, tmp_path):
    sweep = read(NAME, devices=times)
    here, there = page.data(sweep, tmp_path / "images")["machines"]
    assert there["accuracy"] == ", accuracy from the emulated cortex-a76"
    emulated = sweep.emulated["pi"].table
    for machine, table in ((here, sweep.table), (there, emulated)):
        stop = next(stop for stop in machine["stops"] if stop["limit"] == 0.3)
        for candidate in machine["candidates"]:
            if candidate["name"] in emulated.index:
                row = table.loc[candidate["name"]]
                assert candidate["figures"]["test_macro_f1"] == row["test_macro_f1"]
                rejected = stop["figures"]["val_rejected_good_rate"][candidate["place"]]
                assert rejected == row["val_rejected_good_rate"]
    assert emulated.loc[NAME, "test_macro_f1"] < sweep.table.loc[NAME, "test_macro_f1"] - 0.1


def test_the_page_takes_accuracy_from_here_where_few_images_were_emulated(read, times, tmp_path):
    sweep = read(NAME, every=5, devices=times)
    there = page.data(sweep, tmp_path / "images")["machines"][1]
    assert there["accuracy"] == ", accuracy from here"
    for candidate in there["candidates"]:
        expected = sweep.table.loc[candidate["name"], "test_macro_f1"]
        assert candidate["figures"]["test_macro_f1"] == expected
