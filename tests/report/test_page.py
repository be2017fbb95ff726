"""report.html, opened and driven in a real browser, on a sweep that is made up."""

import re
import shutil

import numpy as np
import pandas as pd
import pytest
import synthetic
from beansweep.analysis import candidates, limits, pick
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
def table(sweep):
    """What the report went by."""
    return candidates.table(
        sweep / "results", BACKBONES, VARIANTS, synthetic.GOOD, synthetic.CONFIG["report"]
    )


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
    assert len(opened.find_elements(By.CSS_SELECTOR, "tbody tr")) == len(BACKBONES) * len(VARIANTS)


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


def test_the_page_picks_what_the_report_would_pick(opened, table):
    """On candidates with few distinct figures, so that all kinds of ties come up.

    Some of them are told apart by the images.
    """
    rng, picks = np.random.default_rng(0), []
    for _ in range(60):
        drawn = table.copy()
        for column in (
            "val_macro_f1",
            "val_macro_f1_low",
            "val_missed_defect_rate_high",
            "p50_ms",
            "megabytes",
        ):
            drawn[column] = rng.choice([0.1, 0.2, 0.5, 0.8, 0.9], len(table))
        drawn["p50_high_ms"] = np.where(rng.uniform(size=len(table)) < 0.2, np.nan, drawn["p50_ms"])
        drawn["val_beaten_by"] = [
            drawn.index[drawn["val_macro_f1"] > score + rng.uniform(0, 2)].tolist()
            for score in drawn["val_macro_f1"]
        ]
        drawn["barred"] = pick.barred(drawn)
        deploy = {limit.key: rng.choice([None, 0.1, 0.2, 0.5, 0.8]) for limit in limits.LIMITS}
        for goal in limits.OBJECTIVES:
            wanted = {**deploy, "objective": goal.key}
            found = opened.execute_script(
                "return pick(arguments[0], arguments[1])", page.described(drawn), wanted
            )
            picks.append(found and found["name"])
            assert picks[-1] == pick.choose(drawn, wanted), wanted
    assert len(set(picks)) > 10


def test_the_times_of_a_device_give_its_own_pick(opened):
    Select(opened.find_element(By.ID, "machine")).select_by_visible_text("target (Cortex)")
    assert len(opened.find_elements(By.CSS_SELECTOR, "tbody tr")) == 2
    assert "resnet18 fp32" in chosen(opened)
    assert "p50 1.00 ms" in chosen(opened)
    assert "target (Cortex)" in opened.find_element(By.CSS_SELECTOR, "#front .xtitle").text


def test_the_table_sorts_by_any_column_both_ways(opened):
    def column():
        cells = [
            row.find_elements(By.TAG_NAME, "td")[-3].text
            for row in opened.find_elements(By.CSS_SELECTOR, "tbody tr")
        ]
        return [float(cell) for cell in cells]

    button = opened.find_element(By.XPATH, "//th/button[text()='MB']")
    button.click()
    assert column() == sorted(column())
    button.click()
    assert column() == sorted(column(), reverse=True)
    assert button.find_element(By.XPATH, "..").get_attribute("aria-sort") == "descending"


def test_names_from_outside_stay_text():
    assert page.paragraphs("a **b** `<script>`\n\n- one\n- <two>") == (
        "<p>a <b>b</b> <code>&lt;script&gt;</code></p>\n<ul><li>one</li><li>&lt;two&gt;</li></ul>"
    )
