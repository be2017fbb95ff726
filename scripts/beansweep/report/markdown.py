"""Markdown: tables, intervals and names of candidates."""

import re
from collections.abc import Iterable

import pandas as pd


def table(header: list[str], rows: list[list[str]], text_columns: int) -> str:
    """A table; all but the first `text_columns` columns are aligned to the right."""
    numbers = len(header) - text_columns
    ruler = ["---"] * text_columns + ["--:"] * numbers
    lines = [f"| {' | '.join(cells)} |" for cells in (header, ruler, *rows)]
    return "\n".join(lines)


def paragraphs(*texts: str) -> str:
    """Texts with a blank line between them; empty ones are left out."""
    return "\n\n".join(filter(None, texts))


def bullets(lines: list[str]) -> str:
    """A list."""
    return "\n".join(f"- {line}" for line in lines)


def code(names: list[str]) -> list[str]:
    """Names, each set as code."""
    return [f"`{name}`" for name in names]


def figure(number: float, form: str) -> str:
    """A number by its format; a sign of what is rounded to zero is left out."""
    text = form.format(number)
    return text if re.search("[1-9]", text) else text.lstrip("+-")


def interval(row: pd.Series, column: str, form: str) -> str:
    """Both ends of a figure's interval: `0.855 to 0.890`; empty where it has none.

    Parameters
    ----------
    row : of the table of candidates
    column : of the estimate; `@` marks where its ends have `_low` and `_high`, as in
        `p50@_ms`, or they have it at the end
    form : format of a number
    """
    stem, _, rest = column.partition("@")
    low, high = row[f"{stem}_low{rest}"], row[f"{stem}_high{rest}"]
    # One process alone gives a p50 no interval.
    if pd.isna(low) or pd.isna(high):
        return ""
    return f"{figure(low, form)} to {figure(high, form)}"


def with_interval(row: pd.Series, column: str, form: str) -> str:
    """An estimate and its interval: `0.870 (0.855 to 0.890)`; parameters as for `interval`."""
    estimate, ends = figure(row[column.replace("@", "")], form), interval(row, column, form)
    return f"{estimate} ({ends})" if ends else estimate


def name(row: pd.Series) -> str:
    """A candidate's name, with the other variants that are the same file."""
    return f"`{row['backbone']}` {variant(row)}"


def variant(row: pd.Series) -> str:
    """A candidate's variant, with the others that are the same file, as it stands in tables."""
    also = f" (also {', '.join(code(row['also']))})" if row["also"] else ""
    return f"`{row['variant']}`{also}"


def names(candidates: pd.DataFrame, labels: Iterable[str]) -> str:
    """The names of some candidates, by index label, separated by commas."""
    rows = candidates.loc[list(labels)]
    return ", ".join(f"`{row['backbone']}` `{row['variant']}`" for _, row in rows.iterrows())


def summary(row: pd.Series) -> str:
    """A candidate's main figures, and a sentence on what it decides on the test images."""
    if not row["test_defects"]:
        return f"{main_figures(row)}."
    return f"{main_figures(row)}. {decisions(row)}"


def main_figures(row: pd.Series) -> str:
    """A candidate's latency, size and accuracy in one clause."""
    accuracy = with_interval(row, "test_macro_f1", "{:.3f}")
    p50, ends = f"p50 {row['p50_ms']:.2f} ms", interval(row, "p50@_ms", "{:.2f}")
    if ends:
        p50 += f" ({ends})"
    return f"{p50}, {row['megabytes']:.2f} MB, test macro-F1 {accuracy}"


def decisions(row: pd.Series) -> str:
    """How many test defects a candidate misses, and how many good ones it rejects, with intervals.

    Parameters
    ----------
    row : of the table of candidates, where a class is a defect
    """
    missed = interval(row, "test_missed_defect_rate", "{:.1%}")
    rejected = interval(row, "test_rejected_good_rate", "{:.1%}")
    return (
        f"On test it misses {row['test_missed_defect_count']:.0f} of {row['test_defects']:.0f} "
        f"defects ({missed}), and rejects {row['test_rejected_good_count']:.0f} of "
        f"{row['test_good']:.0f} good ones ({rejected})."
    )
