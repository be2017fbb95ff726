"""report.html, opened and driven in a real browser, on a sweep that is made up."""

import re
import shutil

import numpy as np
import pandas as pd
import pytest
import synthetic
from beansweep.analysis import candidates, limits, pick, standing
from beansweep.report import page
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

DEPLOY = {**synthetic.CONFIG["deploy"], "min_macro_f1": 0.77, "max_missed_defect_rate": 0.2}
BACKBONES, VARIANTS = list(synthetic.BACKBONES), list(synthetic.VARIANTS)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """A folder with the report of 20 candidates."""
    folder = tmp_path_factory.mktemp("made-up")
    synthetic.write(folder, BACKBONES, VARIANTS)
    # On the device, FP32 is the fastest.
    times = [
        str(synthetic.device(folder, "resnet18", variant, p50))
        for variant, p50 in (("fp32", 1.0), ("int8_static", 4.0))
    ]
    result = synthetic.report(folder, BACKBONES, VARIANTS, deploy=DEPLOY, devices={"target": times})
    assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture(scope="module")
def found(sweep):
    """What the report went by."""
    return candidates.read(
        sweep / "results",
        BACKBONES,
        VARIANTS,
        synthetic.GOOD,
        DEPLOY,
        synthetic.CONFIG["report"],
        ["int8_ort_default", "int8_dynamic"],
    )


@pytest.fixture(scope="module")
def table(found):
    return found.table


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium."""
    chromium, driver = (
        shutil.which("chromium") or shutil.which("google-chrome"),
        shutil.which("chromedriver"),
    )
    if not chromium or not driver:
        pytest.skip(
            "no chromium and chromedriver here: Debian's packages are chromium and chromium-driver"
        )
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--window-size=1400,1400",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    found.implicitly_wait(10)
    yield found
    found.quit()


@pytest.fixture
def opened(sweep, browser):
    """The browser, with the page freshly opened; at the end its console holds nothing."""
    browser.get((sweep / "results/report.html").as_uri())
    browser.find_element(By.CSS_SELECTOR, "#front .points path")
    yield browser
    assert browser.get_log("browser") == []


def chosen(browser) -> str:
    return browser.find_element(By.ID, "pick").text


def test_the_page_needs_nothing_but_itself(sweep):
    text = (sweep / "results/report.html").read_text()
    assert len(text.encode()) < 6e6
    own = page.TEMPLATE.read_text()
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//|@import|fetch\(", own)
    assert "default-src 'none'" in text


def test_the_page_opens_with_the_reports_own_pick(opened, sweep):
    picked = pd.read_csv(sweep / "results/pareto.csv").query("pick").iloc[0]
    assert f"{picked['backbone']} {picked['variant']}" in chosen(opened)
    assert opened.find_element(By.CSS_SELECTOR, "tr.picked").get_attribute("data-name") == (
        f"{picked['backbone']}:{picked['variant']}"
    )
    assert len(opened.find_elements(By.CSS_SELECTOR, "#candidates tbody tr")) == len(
        BACKBONES
    ) * len(VARIANTS)


def test_a_mark_under_the_mouse_shows_its_candidates_whole_record_and_mistakes(opened, sweep):
    before = opened.find_element(By.CSS_SELECTOR, "#record h3").text
    mark = opened.find_elements(By.CSS_SELECTOR, "#front .trace.scatter path.point")[-2]
    ActionChains(opened).move_to_element(mark).perform()
    name = opened.find_element(By.CSS_SELECTOR, "#record h3").text
    assert name != before
    row = (
        pd.read_csv(sweep / "results/pareto.csv")
        .set_index(["backbone", "variant"])
        .loc[tuple(name.split())]
    )
    record = opened.find_element(By.ID, "record").text
    for words in (
        f"{row['test_macro_f1']:.3f} ({row['test_macro_f1_low']:.3f}",
        f"{row['megabytes']:.2f} MB",
        f"{row['p50_ms']:.3f} (",
        "validation macro-F1",
        "front",
    ):
        assert words in record
    assert name in opened.find_element(By.ID, "mistakes-title").text


def test_the_mistakes_of_a_row_are_shown_missed_defects_first(opened):
    opened.find_element(By.CSS_SELECTOR, "tr[data-name='mobilenet_v3_small:fp32']").click()
    pictures = opened.find_elements(By.CSS_SELECTOR, "#mistakes img")
    assert pictures
    assert all(
        opened.execute_script("return arguments[0].naturalWidth > 0", picture)
        for picture in pictures
    )
    missed = [
        caption.get_attribute("class") == "missed"
        for caption in opened.find_elements(By.CSS_SELECTOR, "#mistakes figcaption")
    ]
    assert missed == sorted(missed, reverse=True)
    assert missed[0]


def test_the_same_bytes_elsewhere_are_promised_for_bit_exact_files_alone(table):
    row = table.loc["resnet18:int8_static"].copy()
    row["portability"], what = "", "accuracy on other processors"
    assert dict(page.record(row))[what] == "its integer kernels saturate on no processor"
    row["bit_exact"] = True
    assert dict(page.record(row))[what] == "the same bytes"
    row["portability"] = "saturates here"
    assert dict(page.record(row))[what] == "saturates here"


def test_a_slider_moves_the_pick_and_back(opened, table):
    first = chosen(opened)
    slider, answers = opened.find_element(By.ID, "min_macro_f1"), set()
    for _ in range(12):
        slider.send_keys(Keys.ARROW_RIGHT)
        limit = float(slider.get_attribute("value"))
        expected = pick.choose(table, {**DEPLOY, "min_macro_f1": limit})
        answers.add(expected)
        assert (
            expected.replace(":", " ") in chosen(opened)
            if expected
            else "No candidate" in chosen(opened)
        )
    assert len(answers) > 1
    slider.send_keys(Keys.HOME)
    assert (
        "no limit" in opened.find_element(By.CSS_SELECTOR, "label:has(#min_macro_f1) output").text
    )
    assert chosen(opened) == first


def judged(browser, table, deploy):
    """The page's pick of candidates, and what is against the others."""
    return browser.execute_script(
        "const { best, obstacles } = judge(decide(arguments[0], 0), arguments[1]);"
        "return [best && best.name, Object.fromEntries(obstacles)];",
        {"candidates": page.described(table), "stops": [page.decided(table)]},
        deploy,
    )


def test_the_page_picks_what_the_report_would_pick(opened, table):
    """On candidates with few distinct figures, so that all kinds of ties come up.

    Some of them are told apart by the images.
    """
    rng, picks = np.random.default_rng(0), []
    for _ in range(60):
        drawn = table.copy()
        for column in ("val_macro_f1", "val_rejected_good_rate", "p50_ms", "megabytes"):
            drawn[column] = rng.choice([0.1, 0.2, 0.5, 0.8, 0.9], len(table))
        drawn["val_missed_defect_rate_high"] = rng.choice([0.1, 0.5, 0.9], len(table))
        drawn["val_macro_f1_low"] = drawn["val_macro_f1"] - 0.2
        drawn["val_rejected_good_rate_high"] = drawn["val_rejected_good_rate"] + 0.2
        drawn["p50_high_ms"] = np.where(rng.uniform(size=len(table)) < 0.2, np.nan, drawn["p50_ms"])
        drawn["timed_elsewhere"] = rng.uniform(size=len(table)) < 0.1
        drawn["portability"] = rng.choice(["", "saturates"], len(table))
        for column in standing.COMPARISONS:
            drawn[column] = [table.index[rng.uniform(size=len(table)) < 0.05] for _ in table.index]
        deploy = {limit.key: rng.choice([None, 0.1, 0.2, 0.5, 0.8]) for limit in limits.LIMITS}
        for goal in limits.OBJECTIVES:
            wanted = {**deploy, "objective": goal.key}
            chosen, obstacles = judged(opened, drawn, wanted)
            picks.append(chosen)
            assert chosen == pick.choose(drawn, wanted), wanted
            assert obstacles == pick.obstacles(drawn, wanted).to_dict(), wanted
    assert len(set(picks)) > 8


def test_the_page_picks_what_the_report_would_pick_under_any_limits(opened, found):
    """A hundred random limits; the one on missed defects moves every threshold."""
    rng, picks = np.random.default_rng(1), set()
    steps = [*found.limit_steps, None]
    for _ in range(100):
        values = {
            "min_macro_f1": rng.choice([None, rng.uniform(0.6, 0.9)]),
            "max_rejected_good_rate": rng.choice([None, rng.uniform(0.2, 1)]),
            "max_megabytes": rng.choice([None, rng.uniform(1, 20)]),
            "max_p50_ms": rng.choice([None, rng.uniform(0.3, 5)]),
            "objective": rng.choice([goal.key for goal in limits.OBJECTIVES]),
        }
        stop = int(rng.integers(len(steps)))
        deploy = {**DEPLOY, **values, "max_missed_defect_rate": steps[stop]}
        expected = pick.choose(found.under(deploy), deploy)
        chosen = opened.execute_script(
            "const { best } = judge(decide(machine, arguments[0]),"
            " arguments[1]); return best && best.name;",
            stop,
            deploy,
        )
        assert chosen == expected, deploy
        picks.add(chosen)
    assert len(picks) > 2


def test_the_slider_of_missed_defects_moves_thresholds_and_good_ones_rejected(opened, found):
    slider = opened.find_element(By.ID, "max_missed_defect_rate")
    for keys in (Keys.HOME, Keys.END, Keys.ARROW_LEFT):
        slider.send_keys(keys)
        limit = [*found.limit_steps, None][int(slider.get_attribute("value"))]
        deploy = {**DEPLOY, "max_missed_defect_rate": limit}
        table = found.under(deploy)
        expected = pick.choose(table, deploy)
        text = chosen(opened)
        if expected is None:
            assert "No candidate" in text
            continue
        row = table.loc[expected]
        assert expected.replace(":", " ") in text
        assert f"{row['test_rejected_good_count']} of {row['test_good']} good ones" in text
        record = opened.find_element(By.ID, "record").text
        assert f"shipped below {row['ship_below']:.3g}" in record.replace("e-0", "e-")


def test_the_vertical_axis_shows_good_ones_rejected(opened):
    axis = Select(opened.find_element(By.ID, "axis"))
    axis.select_by_visible_text("good ones rejected on test")
    title = opened.find_element(By.CSS_SELECTOR, "#front .ytitle").text
    assert title == "good ones rejected on test"


def test_without_a_good_class_the_page_speaks_of_no_defects(tmp_path, browser):
    synthetic.write(tmp_path, BACKBONES[:1], VARIANTS[:3], images=8)
    no_limits = dict.fromkeys(("max_missed_defect_rate", "max_rejected_good_rate"))
    deploy = {**DEPLOY, **no_limits, "min_macro_f1": None}
    result = synthetic.report(
        tmp_path, BACKBONES[:1], VARIANTS[:3], deploy=deploy, good_classes=None
    )
    assert result.returncode == 0, result.stderr
    browser.get((tmp_path / "results/report.html").as_uri())
    assert chosen(browser).startswith(f"Pick: {BACKBONES[0]} ")
    body = browser.find_element(By.TAG_NAME, "body").text
    assert not re.search("defect|rejected|threshold|NaN|undefined", body)
    assert browser.get_log("browser") == []


def test_the_times_of_a_device_give_its_own_pick(opened):
    Select(opened.find_element(By.ID, "machine")).select_by_visible_text(
        "target (Cortex), accuracy from here"
    )
    assert len(opened.find_elements(By.CSS_SELECTOR, "#candidates tbody tr")) == 2
    assert "resnet18 fp32" in chosen(opened)
    assert "p50 1.00 ms" in chosen(opened)
    assert "target (Cortex)" in opened.find_element(By.CSS_SELECTOR, "#front .xtitle").text


def test_the_table_sorts_by_any_column_both_ways(opened):
    def column():
        cells = [
            row.find_elements(By.TAG_NAME, "td")[-3].text
            for row in opened.find_elements(By.CSS_SELECTOR, "#candidates tbody tr")
        ]
        return [float(cell) for cell in cells]

    button = opened.find_element(By.XPATH, "//th/button[text()='MB']")
    button.click()
    assert column() == sorted(column())
    button.click()
    assert column() == sorted(column(), reverse=True)
    assert button.find_element(By.XPATH, "..").get_attribute("aria-sort") == "descending"


@pytest.mark.parametrize(("drop", "words"), [(-0.0004, "0.000"), (-0.0006, "-0.001"), (0, "0.000")])
def test_what_is_rounded_to_zero_has_no_sign(opened, drop, words):
    column = {"key": "test_drop", "digits": 3, "scale": 1}
    script = "return cell(arguments[0], arguments[1]);"
    assert opened.execute_script(script, {"figures": {"test_drop": drop}}, column) == words


def test_names_from_outside_stay_text():
    assert page.paragraphs("a **b** `<script>`\n\n- one\n- <two>") == (
        "<p>a <b>b</b> <code>&lt;script&gt;</code></p>\n<ul><li>one</li><li>&lt;two&gt;</li></ul>"
    )
