"""What a person who watches a run sees, and what a file of it holds."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from beansweep.common import progress, stage
from conftest import PROJECT

WATCHED = """
import sys
from beansweep.common import progress, stage
progress._SECONDS_BETWEEN_LINES = -1

def main(args):
    for _ in progress.track(range(4), f"count: {args.log.parent.name}"):
        pass
    print("for the log alone")

stage.run(stage.parser("Count."), main)
"""


def start(folder, backbone, stderr, program=WATCHED):
    return subprocess.Popen(
        [sys.executable, "-c", program, "--log", folder / f"logs/{backbone}/count-int8.log"],
        stderr=stderr,
        env={**os.environ, "PYTHONPATH": str(PROJECT / "scripts")},
    )


def test_two_jobs_on_one_terminal_write_whole_lines(tmp_path):
    terminal, end = pty.openpty()
    jobs = [start(tmp_path, backbone, end) for backbone in ("one", "other")]
    assert [job.wait(timeout=60) for job in jobs] == [0, 0]
    os.close(end)
    text = os.read(terminal, 1 << 16).decode()
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f]|\r(?!\n)", text)
    lines = text.splitlines()
    for backbone in ("one", "other"):
        own = [line for line in lines if f": {backbone}" in line]
        assert own[0] == f"starting count: {backbone} int8"
        assert [re.sub(r"\d+ s left", "", line) for line in own[1:]] == [
            f"count: {backbone}: {done} of 4 ({done * 25}%), " for done in (1, 2, 3)
        ]
    assert len(lines) == 8


def test_a_file_gets_the_same_lines_and_the_log_all(tmp_path):
    with open(tmp_path / "run.log", "w") as file:
        assert start(tmp_path, "one", file).wait(timeout=60) == 0
    text = (tmp_path / "run.log").read_text()
    assert text.count("\n") == 4
    assert "for the log alone" not in text
    log = tmp_path / "logs/one/count-int8.log"
    assert log.read_text().endswith("for the log alone\nfinished\n")
    assert stage.why_unfinished(log) is None
    assert not stage.was_killed(log)


def ending(statement: str) -> str:
    """The program, with a statement in place of its last one."""
    return WATCHED.replace('print("for the log alone")', statement)


def test_a_log_ends_with_the_sentence_that_the_terminal_gets(tmp_path):
    program = ending('raise UserError("beans.csv is empty: add beans")').replace(
        "import sys", "import sys\nfrom beansweep.common.errors import UserError"
    )
    process = start(tmp_path, "one", subprocess.PIPE, program)
    said = process.communicate()[1].decode().splitlines()[-1]
    assert process.returncode == 1
    log = tmp_path / "logs/one/count-int8.log"
    assert "Traceback" in log.read_text()
    assert log.read_text().endswith(f"\nfailed: {said}\n")
    assert said == "-c: beans.csv is empty: add beans"
    assert stage.why_unfinished(log) == said
    assert not stage.was_killed(log)


def test_the_log_of_a_killed_stage_ends_with_neither(tmp_path):
    process = start(
        tmp_path, "one", subprocess.DEVNULL, ending("import os; os.kill(os.getpid(), 9)")
    )
    assert process.wait(timeout=60) == -9
    log = tmp_path / "logs/one/count-int8.log"
    assert stage.was_killed(log)
    assert stage.why_unfinished(log) == (
        "count: one int8 was killed, most often for want of memory: "
        "lower train.batch_size or train.image_size, or use fewer cores"
    )


def test_a_crash_of_native_code_is_no_kill(tmp_path):
    process = start(
        tmp_path, "one", subprocess.DEVNULL, ending("import ctypes; ctypes.string_at(0)")
    )
    assert process.wait(timeout=60) != 0
    log = tmp_path / "logs/one/count-int8.log"
    assert not stage.was_killed(log)
    assert stage.why_unfinished(log) == f"count: one int8 crashed (Segmentation fault): see {log}"


def test_a_log_that_is_not_there_or_empty_says_nothing_of_a_kill(tmp_path):
    assert stage.why_unfinished(tmp_path / "count.log") is None
    (tmp_path / "count.log").write_bytes(b"")
    assert not stage.was_killed(tmp_path / "count.log")


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("results/logs/report.log", "report"),
        ("results/logs/net/bench.log", "bench: net"),
        ("results/logs/net.seed1/evaluate-int8_static.log", "evaluate: net.seed1 int8_static"),
        ("results/logs/net/calibrate-rewritten-minmax.log", "calibrate: net rewritten-minmax"),
    ],
)
def test_a_job_is_named_by_its_rule_backbone_and_variant(log, words):
    assert stage.job(Path(log)) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (99, "99 s"), (150, "2 min"), (7200, "120 min")]
)
def test_a_duration_has_no_more_digits_than_it_is_sure_of(seconds, words):
    assert progress.duration(seconds) == words
