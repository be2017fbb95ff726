"""The report as one interactive page that needs no network."""

import base64
import html
import io
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from plotly.offline import get_plotlyjs

from beansweep.analysis import limits, standing
from beansweep.common import files
from beansweep.common.words import counted
from beansweep.data import preprocess
from beansweep.report import decision, front_figure, markdown, mistakes, style, tables
from beansweep.report.decision import Choice
from beansweep.report.report_data import ReportData, choice_on

# The page's text, style and behaviour; its marks @...@ are filled in here.
TEMPLATE = Path(__file__).with_name("page.html")
# Columns of the page's table: figure, heading, decimals, scale, and 1 where the least comes first.
# Those with a percent sign have their interval in the cell.
_COLUMNS = [
    ("test_macro_f1", "test mF1", 3, 1, -1),
    ("val_macro_f1", "val mF1", 3, 1, -1),
    ("test_drop", "accuracy drop", 3, 1, 1),
    ("test_missed_defect_rate", "defects missed %", 1, 100, 1),
    ("test_rejected_good_rate", "good rejected %", 1, 100, 1),
    ("p50_ms", "p50 ms", 2, 1, 1),
    ("p99_ms", "p99 ms", 2, 1, 1),
    ("speedup", "speed-up", 2, 1, -1),
    ("megabytes", "MB", 2, 1, 1),
    ("images_per_second", "images/s", 0, 1, -1),
]
# What follows from the limit on missed defects: figures that the pick goes by, and others that are
# rounded.
_EXACT = [
    "ship_below",
    "reject_from",
    "val_missed_defect_rate_high",
    "val_rejected_good_rate",
    "val_rejected_good_rate_low",
    "val_rejected_good_rate_high",
]
_ROUNDED = [
    "test_missed_defect_count",
    "test_missed_defect_rate",
    "test_missed_defect_rate_low",
    "test_missed_defect_rate_high",
    "test_rejected_good_count",
    "test_rejected_good_rate",
    "test_rejected_good_rate_low",
    "test_rejected_good_rate_high",
]
_DECIMALS = 4
# Pixels of a thumbnail, and how many there are at most, of a candidate and in all: one megabyte
# next to plotly's five.
_SIDE, _EACH, _ALL = 72, 12, 200


def write(path: Path, sweep: ReportData, root: Path) -> None:
    """Write the page.

    Parameters
    ----------
    root : folder of the images
    """
    said = markdown.paragraphs(
        decision.text(sweep.choice),
        decision.operating_points(sweep.choice),
        decision.other_picks(sweep.choice),
    )
    # In a script, < could end it.
    content = json.dumps(data(sweep, root), ensure_ascii=False, allow_nan=False)
    filled = {
        "decision": paragraphs(said),
        "confidence": sweep.confidence,
        "data": content.replace("<", r"\u003c"),
        "plotly": get_plotlyjs(),
    }
    template = TEMPLATE.read_text(encoding="utf-8")
    # In one pass: what is filled in is not searched again.
    pattern = f"@({'|'.join(filled)})@"
    files.write_text(path, re.sub(pattern, lambda mark: filled[mark[1]], template))


def data(sweep: ReportData, root: Path) -> dict:
    """All that the page's script knows; keys as the script has them."""
    machines = [_machine(sweep.machine["cpu"], "", sweep.choice)]
    for device in sweep.devices:
        name = f"{device.name} ({device.machine['cpu']})"
        emulated = sweep.emulated.get(device.name)
        source = f"the emulated {emulated.processor}" if emulated and emulated.complete else "here"
        machines.append(_machine(name, f", accuracy from {source}", choice_on(device, sweep)))
    shown, images = _pictures(sweep.mistakes, root, sweep.settings["bits"])
    return {
        "machines": machines,
        "deploy": sweep.settings["deploy"],
        "defects": int(sweep.table["test_defects"].iloc[0]),
        "good": int(sweep.table["test_good"].iloc[0]),
        "mistakes": shown,
        "images": images,
        "colours": style.COLOURS,
        "symbols": list(style.MARKERS.values()),
        "limits": described_limits(),
        "objectives": described_objectives(),
        "columns": _columns(sweep.choice),
    }


def stops(choice: Choice) -> list[dict]:
    """What candidates decide under each limit on missed defects that the slider stops at.

    The last stop is no limit.
    """
    found = []
    for limit in [*choice.steps, None]:
        table = choice.decide({**choice.deploy, "max_missed_defect_rate": limit})
        found.append({"limit": limit, **decided(table)})
    return found


def decided(table: pd.DataFrame) -> dict:
    """What candidates decide under a limit, in arrays in the order of the table.

    Returns
    -------
    `figures`, column -> values, and `worse`, column -> which candidate is worse than which other:
    the bits of a matrix, row by row, in Base64.
    """
    figures = {}
    for column in (*_EXACT, *_ROUNDED):
        values = table[column] if column in _EXACT else table[column].round(_DECIMALS)
        figures[column] = [None if pd.isna(value) else value for value in values.tolist()]
    worse = {}
    for column in standing.COMPARISONS:
        matrix = np.array([table.index.isin(names) for names in table[column]])
        worse[column] = base64.b64encode(np.packbits(matrix).tobytes()).decode()
    return {"figures": figures, "worse": worse}


def _machine(name: str, accuracy: str, choice: Choice) -> dict:
    """Where latencies are from, the candidates that were timed there, and what they decide there.

    Parameters
    ----------
    accuracy : where accuracy is from, in words
    """
    return {
        "name": name,
        "accuracy": accuracy,
        "candidates": described(choice.table),
        "range": front_figure.scale(choice.table, margin=0.01),
        "stops": stops(choice),
    }


def described_limits() -> dict[str, dict]:
    """Config key -> what the page knows of the limit."""
    known = {}
    for limit in limits.LIMITS:
        known[limit.key] = {
            "column": limit.column,
            "estimate": limit.estimate,
            "worse": limit.worse,
            "direction": limit.direction,
            "words": f"{limit.name} {limit.inclusive}",
            "scale": limit.scale,
            "digits": limit.digits,
            "unit": limit.unit,
        }
    return known


def described_objectives() -> dict[str, dict]:
    """Config value -> what the page knows of the objective, in the order that breaks ties."""
    known = {}
    for goal in limits.OBJECTIVES:
        known[goal.key] = {
            "column": goal.column,
            "direction": goal.direction,
            "name": goal.name,
            "words": goal.best,
        }
    return known


def _columns(choice: Choice) -> list[dict]:
    """The columns of the page's table; `direction` is 1 where the least comes first."""
    columns = []
    for key in ("backbone", "variant"):
        columns.append({"key": key, "words": key, "text": True, "direction": 1})
    for column in _COLUMNS:
        if column[0] in _ROUNDED and not choice.has_defects:
            continue
        names = ("key", "words", "digits", "scale", "direction")
        columns.append(dict(zip(names, column, strict=True)))
    return columns


def described(table: pd.DataFrame) -> list[dict]:
    """What the page knows of each candidate, whatever the limit on missed defects is.

    `place` is its place in the arrays of `decided`.

    Parameters
    ----------
    table : of candidates
    """
    wanted = {"test_macro_f1_low", "test_macro_f1_high"}
    wanted |= {key for key, *_ in _COLUMNS}
    wanted |= {limit.column for limit in limits.LIMITS}
    wanted |= {limit.estimate for limit in limits.LIMITS}
    wanted |= {goal.column for goal in limits.OBJECTIVES}
    wanted -= {*_EXACT, *_ROUNDED}
    known, never = [], standing.never_picked(table)
    for place, (name, row) in enumerate(table.iterrows()):
        figures = row.reindex(sorted(wanted)).dropna()
        known.append(
            {
                "name": name,
                "place": place,
                "backbone": row["backbone"],
                "variant": _variant(row),
                "fp32": row["variant"] == "fp32",
                "never": never[name],
                "elsewhere": bool(row["timed_elsewhere"]),
                "portable": row["portability"] == "",
                "summary": markdown.main_figures(row),
                "record": record(row),
                "figures": figures.astype(float).to_dict(),
            }
        )
    return known


def _variant(row: pd.Series) -> str:
    """A candidate's variant and the others that are the same file, as text."""
    return markdown.variant(row).replace("`", "")


def record(row: pd.Series) -> list[tuple[str, str]]:
    """All that is known of a candidate: what, and its value in words."""
    known = {
        "test macro-F1": markdown.with_interval(row, "test_macro_f1", "{:.3f}"),
        "validation macro-F1": markdown.with_interval(row, "val_macro_f1", "{:.3f}"),
        "p50": markdown.with_interval(row, "p50@_ms", "{:.3f}") + " ms",
        "p90, p95, p99": f"{row['p90_ms']:.3f}, {row['p95_ms']:.3f}, {row['p99_ms']:.3f} ms",
        "end-to-end latency, p50": f"{row['end_to_end_p50_ms']:.2f} ms",
        "images/s": f"{row['images_per_second']:.0f}",
        "load, first query": f"{row['load_ms']:.0f} ms, {row['first_query_ms']:.1f} ms",
        "file": f"{row['megabytes']:.2f} MB",
    }
    if pd.notna(row["peak_memory_mb"]):
        known["peak memory"] = f"{row['peak_memory_mb']:.0f} MB"
    if pd.notna(row["speedup_low"]):
        known["speed-up"] = markdown.with_interval(row, "speedup", "{:.2f}")
        if pd.notna(row["speedup_limit"]):
            known["speed-up"] += f", limit of integer kernels {row['speedup_limit']:.1f}"
    if row["variant"] != "fp32":
        known |= _int8_record(row)
    known["front"] = "a member" if row["front"] else tables.dominated(row)
    return [(what, value.replace("`", "")) for what, value in known.items()]


def _int8_record(row: pd.Series) -> dict[str, str]:
    """What is known of an INT8 candidate alone."""
    drop = markdown.with_interval(row, "test_drop", "{:+.4f}")
    parts = [markdown.figure(row[f"{part}_drop"], "{:+.4f}") for part in ("quantization", "kernel")]
    return {
        "accuracy drop against FP32": f"{drop}, {row['test_verdict']}",
        "from quantization, from kernels": ", ".join(parts),
        "agreement with FP32": f"{row['test_agreement']:.3f}",
        "finding": tables.finding(row),
        "accuracy on other processors": row["portability"] or _elsewhere(row),
    }


def _elsewhere(row: pd.Series) -> str:
    """What other processors make of a file that there is no warning of."""
    return "the same bytes" if row["bit_exact"] else "its integer kernels saturate on no processor"


def _pictures(
    found: dict[str, mistakes.Mistakes], root: Path, bits: int | None
) -> tuple[dict[str, dict], list[str]]:
    """Each candidate's mistakes, and the thumbnails of their images.

    Returns
    -------
    Candidate -> its mistakes, each with the number of its thumbnail; and the thumbnails as data
    URIs, one an image, also where it is a mistake of several candidates.
    """
    most = min(_EACH, max(1, _ALL // len(found)))
    numbers: dict[str, int] = {}
    shown: dict[str, dict] = {}
    for name, own in found.items():
        words = counted(len(own.rows), own.kind)
        if len(own.rows) > most:
            words += f", the {most} most telling"
        pictures = []
        for _, row in own.rows.head(most).iterrows():
            picture = {
                "image": numbers.setdefault(row["path"], len(numbers)),
                "path": row["path"],
                "score": None if pd.isna(row["defect_score"]) else row["defect_score"],
                "words": mistakes.prediction(row),
            }
            pictures.append(picture)
        shown[name] = {"words": words, "images": pictures}
    return shown, [_thumbnail(preprocess.read(root / path, _SIDE, bits)) for path in numbers]


def _thumbnail(image: Image.Image) -> str:
    """A small copy as a data URI."""
    image.thumbnail((_SIDE, _SIDE))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=70)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def paragraphs(text: str) -> str:
    """HTML of simple Markdown: paragraphs, lists, tables, bold, italics and code."""
    blocks = []
    for block in text.split("\n\n"):
        if block.startswith("| "):
            blocks.append(_table(block))
        elif block.startswith("- "):
            items = map(_inline, block.removeprefix("- ").split("\n- "))
            blocks.append("<ul>" + "".join(f"<li>{item}</li>" for item in items) + "</ul>")
        else:
            blocks.append(f"<p>{_inline(block)}</p>")
    return "\n".join(blocks)


def _table(block: str) -> str:
    """HTML of a Markdown table."""
    header, _, *rows = [line.strip("| ").split(" | ") for line in block.split("\n")]
    heads = "".join(f"<th>{_inline(cell)}</th>" for cell in header)
    lines = []
    for row in rows:
        lines.append("<tr>" + "".join(f"<td>{_inline(cell)}</td>" for cell in row) + "</tr>")
    return f"<table class='plain'><tr>{heads}</tr>{''.join(lines)}</table>"


def _inline(text: str) -> str:
    """HTML of Markdown within a line: bold, italics and code."""
    with_code = re.sub(r"`(.+?)`", r"<code>\1</code>", html.escape(text))
    with_bold = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", with_code)
    return re.sub(r"\*(.+?)\*", r"<i>\1</i>", with_bold)
