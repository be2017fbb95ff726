"""Markdown: tables, intervals and names of candidates."""

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


def interval(row: pd.Series, figure: str, form: str) -> str:
    """Both ends of a figure's interval: `0.855 to 0.890`.

    Parameters
    ----------
    row : of the table of candidates
    figure : column of the estimate; `@` marks where its ends have `_low` and `_high`, as in
        `p50@_ms`, or they have it at the end
    form : format of a number
    """
    stem, _, rest = figure.partition("@")
    low, high = row[f"{stem}_low{rest}"], row[f"{stem}_high{rest}"]
    return f"{form.format(low)} to {form.format(high)}"


def with_interval(row: pd.Series, figure: str, form: str) -> str:
    """An estimate and its interval: `0.870 (0.855 to 0.890)`; parameters as for `interval`."""
    estimate = form.format(row[figure.replace("@", "")])
    return f"{estimate} ({interval(row, figure, form)})"


def name(row: pd.Series) -> str:
    """A candidate's name, as it stands in every table."""
    return f"`{row['backbone']}` `{row['variant']}`"


def names(candidates: pd.DataFrame, labels: Iterable[str]) -> str:
    """The names of some candidates, by index label, separated by commas."""
    rows = candidates.loc[list(labels)]
    return ", ".join(name(row) for _, row in rows.iterrows())


def summary(row: pd.Series) -> str:
    """A candidate's main figures in one clause."""
    return (
        f"test macro-F1 {with_interval(row, 'test_macro_f1', '{:.3f}')}, "
        f"{row['test_missed_defect_rate']:.1%} of defects missed "
        f"({interval(row, 'test_missed_defect_rate', '{:.1%}')}), "
        f"p50 {row['p50_ms']:.2f} ms, {row['megabytes']:.2f} MB"
    )
