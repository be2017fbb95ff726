"""Letters in figures: fonts for those that the default font lacks, and numbers where none has them.

matplotlib draws a box for a letter that no chosen font has.
"""

from collections.abc import Iterable
from functools import cache

import matplotlib
from matplotlib import font_manager

# A name of more letters takes the room of the figure.
_LONGEST_NAME = 40
_DEFAULT = "DejaVu Sans"


def choose(texts: Iterable[str]) -> set[str]:
    """Let all figures use installed fonts that have the letters of texts.

    Returns
    -------
    Letters that no installed font has.
    """
    missing = set("".join(texts)) - _letters(font_manager.findfont(_DEFAULT)) - {"\n"}
    families, fonts = [_DEFAULT], _installed() if missing else {}
    while missing and fonts:
        best = max(sorted(fonts), key=lambda name: len(missing & _letters(fonts[name])))
        found = missing & _letters(fonts.pop(best))
        if not found:
            break
        families.append(best)
        missing -= found
    matplotlib.rcParams["font.family"] = families
    return missing


def _installed() -> dict[str, str]:
    """Upright fonts of this machine: family -> file, without those that have boxes for letters."""
    fonts: dict[str, str] = {}
    for font in font_manager.fontManager.ttflist:
        if font.style == "normal" and "Last Resort" not in font.name:
            fonts.setdefault(font.name, font.fname)
    return fonts


@cache
def _letters(file: str) -> set[str]:
    """Letters that a font has."""
    return {chr(code) for code in font_manager.get_font(file).get_charmap()}


def names(labels: list[str]) -> dict[str, str]:
    """How figures name classes: as they are, or by number where that cannot be drawn.

    Parameters
    ----------
    labels : class names

    Returns
    -------
    Class name -> name in figures, such as `class 3`
    """
    missing = choose(labels)
    shown = {}
    for number, label in enumerate(labels, 1):
        drawn = len(label) <= _LONGEST_NAME and not set(label) & missing
        shown[label] = label if drawn else f"class {number}"
    return shown


def drawable(text: str, missing: set[str]) -> str:
    """A text with a question mark for each missing letter."""
    return "".join("?" if letter in missing else letter for letter in text)
