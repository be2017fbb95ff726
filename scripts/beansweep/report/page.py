"""The report as one interactive page that needs no network: figures to point at, limits to move, mistakes to see."""

import base64
import html
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from PIL import Image
from plotly.offline import get_plotlyjs

from beansweep.analysis import limits
from beansweep.common import files
from beansweep.report import figures, wording

# The page's text, style and behaviour; its marks @...@ are filled in here.
TEMPLATE = Path(__file__).with_name("page.html")
# plotly's names of `figures.MARKERS`.
_SYMBOLS = [
    "circle",
    "square",
    "triangle-up",
    "diamond",
    "triangle-down",
    "cross",
    "x",
    "triangle-left",
    "triangle-right",
    "pentagon",
    "hexagon",
]
# config key -> how the page writes its values: scale, decimals, unit
_FORMS = {
    "min_macro_f1": (1, 3, ""),
    "max_missed_defect_rate": (100, 1, "%"),
    "max_megabytes": (1, 2, " MB"),
    "max_p50_ms": (1, 2, " ms"),
}
# Columns of the page's table: figure, heading, decimals, scale, and +1 where the least comes first.
_COLUMNS = [
    ("test_macro_f1", "test mF1", 3, 1, -1),
    ("val_macro_f1", "val mF1", 3, 1, -1),
    ("test_drop", "loss", 3, 1, 1),
    ("test_missed_defect_rate", "defects missed %", 1, 100, 1),
    ("p50_ms", "p50 ms", 2, 1, 1),
    ("p99_ms", "p99 ms", 2, 1, 1),
    ("speedup", "speed-up", 2, 1, -1),
    ("megabytes", "MB", 2, 1, 1),
    ("images_per_second", "images/s", 0, 1, -1),
]
# Pixels of a thumbnail; of each candidate so many at most, and of all so many: a megabyte beside plotly's five.
_SIDE, _EACH, _ALL = 72, 12, 200


def inline(markdown: str) -> str:
    """HTML of the Markdown that `prose` writes within a line: bold and code."""
    text = re.sub(r"`(.+?)`", r"<code>\1</code>", html.escape(markdown))
    return re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", text)


def paragraphs(markdown: str) -> str:
    """HTML of the Markdown that `prose` writes: paragraphs and lists."""
    blocks = []
    for block in markdown.split("\n\n"):
        if block.startswith("- "):
            items = "".join(
                f"<li>{inline(item)}</li>" for item in block.removeprefix("- ").split("\n- ")
            )
            blocks.append(f"<ul>{items}</ul>")
        else:
            blocks.append(f"<p>{inline(block)}</p>")
    return "\n".join(blocks)


def record(row: pd.Series) -> list[tuple[str, str]]:
    """All that is known of a candidate: what, and its value in words."""

    def with_interval(figure: str, form: str) -> str:
        return (
            f"{form.format(row[figure.replace('@', '')])} ({wording.interval(row, figure, form)})"
        )

    def missed(split: str) -> str:
        return f"{row[f'{split}_missed_defects']}, {with_interval(f'{split}_missed_defect_rate', '{:.1%}')}"

    known = {
        "test macro-F1": with_interval("test_macro_f1", "{:.3f}"),
        "validation macro-F1": with_interval("val_macro_f1", "{:.3f}"),
        "defects missed, test": missed("test"),
        "defects missed, validation": missed("val"),
        "p50": with_interval("p50@_ms", "{:.3f}") + " ms",
        "p90, p95, p99": ", ".join(f"{row[f'p{q}_ms']:.3f}" for q in (90, 95, 99)) + " ms",
        "end-to-end latency, p50": f"{row['end_to_end_p50_ms']:.2f} ms",
        "images/s": f"{row['images_per_second']:.0f}",
        "load, first query": f"{row['load_ms']:.0f} ms, {row['first_query_ms']:.1f} ms",
        "file": f"{row['megabytes']:.2f} MB",
    }
    if pd.notna(row["peak_memory_mb"]):
        known["peak memory"] = f"{row['peak_memory_mb']:.0f} MB"
    if pd.notna(row["speedup_low"]):
        known["FP32 p50 / p50"] = with_interval("speedup", "{:.2f}")
    if row["variant"] != "fp32":
        known |= {
            "loss against FP32": f"{with_interval('test_drop', '{:+.4f}')}, {row['test_verdict']}",
            "of quantization, of kernels": f"{row['quantization_drop']:+.4f}, {row['kernel_drop']:+.4f}",
            "agreement with FP32": f"{row['test_agreement']:.3f}",
            "finding": row["finding"],
            "on other processors": row["portability"] or "the same accuracy",
        }
    if row["barred"]:
        known["never picked"] = row["barred"]
    known["front"] = "a member" if row["front"] else wording.dominated(row)
    return [(what, value.replace("`", "")) for what, value in known.items()]


def described(table: pd.DataFrame) -> list[dict]:
    """What the page knows of each candidate."""
    wanted = {column for column, _ in (*limits.CONSTRAINTS.values(), *limits.OBJECTIVES.values())}
    wanted |= {key for key, *_ in _COLUMNS} | {"test_macro_f1_low", "test_macro_f1_high"}
    return [
        {
            "name": name,
            "backbone": row["backbone"],
            "variant": row["variant"],
            "front": bool(row["front"]),
            "beaten_by": row["val_beaten_by"],
            "barred": row["barred"],
            "clause": wording.figures(row),
            "record": record(row),
            "figures": {key: float(row[key]) for key in sorted(wanted) if pd.notna(row.get(key))},
        }
        for name, row in table.iterrows()
    ]


def thumbnail(image: Image.Image) -> str:
    """A small copy as a data URI."""
    image.thumbnail((_SIDE, _SIDE))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=70)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def pictures(
    mistakes: dict[str, tuple[pd.DataFrame, str]], read: Callable[[str], Image.Image]
) -> tuple[dict[str, dict], list[str]]:
    """Each candidate's mistakes, and the thumbnails that they name by number; an image of several is there once."""
    each = min(_EACH, max(1, _ALL // len(mistakes)))
    numbers, shown = {}, {}
    for name, (rows, what) in mistakes.items():
        count = f"{len(rows)}, the {each} most telling" if len(rows) > each else str(len(rows))
        shown[name] = {
            "words": f"{count} ({what})",
            "images": [
                {
                    "image": numbers.setdefault(row["path"], len(numbers)),
                    "path": row["path"],
                    "missed": bool(row["missed"]),
                    "words": wording.mistake(row),
                }
                for _, row in rows.head(each).iterrows()
            ],
        }
    return shown, [thumbnail(read(path)) for path in numbers]


def write(
    path: Path,
    machines: dict[str, pd.DataFrame],
    deploy: dict,
    confidence: float,
    mistakes: dict[str, tuple[pd.DataFrame, str]],
    read: Callable[[str], Image.Image],
) -> None:
    """Write the page.

    Parameters
    ----------
    machines : where the times are from, in words -> the table of candidates; the first is the report's own
    deploy : limits and objective, as in config.yaml
    mistakes : candidate -> rows of its predictions, the most telling first, and in words which those are
    read : an image by its path in the manifest
    """
    first = next(iter(machines.values()))
    shown, images = pictures(mistakes, read)
    data = {
        "machines": [
            {
                "name": name,
                "candidates": described(table),
                "range": figures.score_range(table, 0.01),
            }
            for name, table in machines.items()
        ],
        "deploy": deploy,
        "mistakes": shown,
        "images": images,
        "colours": figures.COLOURS,
        "symbols": _SYMBOLS,
        "constraints": {
            key: {
                "column": column,
                "sense": sense,
                "words": wording.limited(key),
                **dict(zip(("scale", "digits", "unit"), _FORMS[key], strict=True)),
            }
            for key, (column, sense) in limits.CONSTRAINTS.items()
        },
        "objectives": {
            key: {"column": column, "sense": sense, "words": wording.OBJECTIVES[key]}
            for key, (column, sense) in limits.OBJECTIVES.items()
        },
        "columns": [
            {"key": key, "words": key, "text": True, "sense": 1} for key in ("backbone", "variant")
        ]
        + [
            dict(zip(("key", "words", "digits", "scale", "sense"), column, strict=True))
            for column in _COLUMNS
        ],
    }
    text = json.dumps(data, ensure_ascii=False, allow_nan=False).replace("<", r"\u003c")
    filled = {
        "decision": paragraphs(wording.decision(first, deploy, confidence)),
        "confidence": f"{confidence:.0%}",
        "data": text,
        "plotly": get_plotlyjs(),
    }
    # One pass: what is filled in is not searched again.
    files.write_text(
        path,
        re.sub(
            "@(decision|confidence|data|plotly)@",
            lambda mark: filled[mark[1]],
            TEMPLATE.read_text(encoding="utf-8"),
        ),
    )
