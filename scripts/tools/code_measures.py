"""Measures of how the code reads: sizes of functions, long lines, comprehensions.

python scripts/tools/code_measures.py [FOLDER ...]     scripts/beansweep and scripts/*.py by default
"""

import ast
import statistics
import sys
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[1]
COMPREHENSIONS = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef
LONG = 100


def measure(sources: list[Path]) -> dict[str, float]:
    """Figures over some files: lines, and shares of them in percent."""
    lines, long, sizes, comprehensions, nested = 0, 0, [], 0, 0
    for source in sources:
        text = source.read_text(encoding="utf-8")
        lines += len(text.splitlines())
        long += sum(len(line) > LONG for line in text.splitlines())
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, FUNCTIONS):
                sizes.append((node.end_lineno or node.lineno) - node.lineno + 1)
            elif isinstance(node, COMPREHENSIONS):
                comprehensions += 1
                nested += sum(isinstance(inner, COMPREHENSIONS) for inner in ast.walk(node)) > 1
    return {
        "files": len(sources),
        "lines": lines,
        "functions": len(sizes),
        "function length, median": statistics.median(sizes),
        "function length, maximum": max(sizes),
        f"lines over {LONG} characters, %": 100 * long / lines,
        "comprehensions a hundred lines": 100 * comprehensions / lines,
        "nested ones a hundred lines": 100 * nested / lines,
    }


def main() -> None:
    folders = [Path(name) for name in sys.argv[1:]]
    sources = [source for folder in folders for source in folder.rglob("*.py")]
    for name, value in measure(
        sources or [*SCRIPTS.glob("*.py"), *SCRIPTS.glob("beansweep/**/*.py")]
    ).items():
        print(f"{name:34} {value:8.1f}")


if __name__ == "__main__":
    main()
