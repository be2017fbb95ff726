"""A digest of the code that decides a stage's result: a rule reruns when the digest of its code changes.

The digest covers the stage's script, every module of this project that it imports, directly or not,
and every file that such a module reads beside itself. It is taken over the syntax, without comments and
docstrings, in a form that is the same for every version of Python that can parse it.

Only the standard library is imported here: any interpreter can compute a digest.
"""

import ast
import hashlib
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = "beansweep"
# Modules that decide no result, only how a stage talks, fails and writes: an edit of them reruns nothing.
DECIDES_NOTHING = ("errors", "files", "progress", "stage", "versions", "working_folder")


class Untraceable(Exception):
    """Code reaches other code, or a file, in a way that this digest does not follow."""


@cache
def of_script(script: Path) -> str:
    """Digest of a stage's code: 16 hexadecimal digits.

    Parameters
    ----------
    script : the stage's program; the package lies beside it

    Raises
    ------
    Untraceable
        A module imports another, or reads a file beside itself, in a way that is not followed.
    """
    parts = []
    for source in sorted(
        sources(script), key=lambda path: path.relative_to(script.parent).as_posix()
    ):
        content = (
            _syntax(source)
            if source.suffix == ".py" and source not in _texts(script)
            else _text(source)
        )
        parts.append([source.relative_to(script.parent).as_posix(), content])
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


@cache
def sources(script: Path) -> frozenset[Path]:
    """The files that decide a stage's result: its script, modules of the package, and the files they read."""
    return _modules(script) | _texts(script)


@cache
def _modules(script: Path) -> frozenset[Path]:
    """The script, and the modules that it imports, directly or not."""
    found: set[Path] = set()
    waiting = [script]
    while waiting:
        source = waiting.pop()
        if source not in found:
            found.add(source)
            waiting += _imported(source, script.parent)
    return frozenset(found)


@cache
def _texts(script: Path) -> frozenset[Path]:
    """Files that a stage's modules read as text: templates, and source that goes into a result."""
    found: set[Path] = set()
    for module in _modules(script):
        found.update(_read_beside(module))
    return frozenset(found)


def _imported(source: Path, scripts: Path) -> Iterator[Path]:
    """Modules of the package that a file imports, those that decide nothing left out."""
    for name in _imported_names(source, scripts):
        # Of `from beansweep.data import manifest` the last part is a module, of `... import read` a function.
        named = (
            scripts.joinpath(*parts).with_suffix(".py")
            for parts in (name.split("."), name.split(".")[:-1])
            if parts
        )
        path = next((path for path in named if path.is_file()), None)
        if path is None:
            raise Untraceable(
                f"{source}: {name} is no module, nor in one: import each module by its full name"
            )
        if path.stem not in DECIDES_NOTHING:
            yield path
    # To import a module is to run the __init__.py of each package around it.
    for package in source.relative_to(scripts).parents[:-1]:
        yield scripts / package / "__init__.py"


def _imported_names(source: Path, scripts: Path) -> set[str]:
    """Full dotted names of what a file imports of the package: modules, or what is in them.

    Raises
    ------
    Untraceable
        The file imports everything of a module (`*`), or by a name that is only known when it runs.
    """
    names = set()
    for node in ast.walk(_tree(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names if alias.name.split(".")[0] == PACKAGE}
        elif isinstance(node, ast.ImportFrom):
            module = _absolute(node, source, scripts)
            if module.split(".")[0] != PACKAGE:
                continue
            for alias in node.names:
                if alias.name == "*":
                    raise Untraceable(
                        f"{source}, line {node.lineno}: `import *` hides what is imported: name it"
                    )
                names.add(f"{module}.{alias.name}")
        elif _called(node) in ("__import__", "import_module", "getsource") or _is_builtin(
            node, "exec", "eval"
        ):
            raise Untraceable(
                f"{source}, line {node.lineno}: the code digest does not follow {_called(node)}: "
                "import the module by its name, or read its file beside this one"
            )
    return names


def _absolute(node: ast.ImportFrom, source: Path, scripts: Path) -> str:
    """The dotted name of the module that a `from ... import` names, relative or not."""
    if not node.level:
        return node.module or ""
    package = source.relative_to(scripts).parent.parts
    above = package[: len(package) - node.level + 1]
    if not above:
        raise Untraceable(f"{source}, line {node.lineno}: a relative import leads out of {PACKAGE}")
    return ".".join([*above, *([node.module] if node.module else [])])


def _read_beside(source: Path) -> Iterator[Path]:
    """Files that a module reads beside itself, by their path from `Path(__file__)`.

    Followed are `.parent`, `.with_name("...")` and `/ "..."`.
    """
    tree = _tree(source)
    known = []
    for node in ast.walk(tree):
        path = _path_from_file(node, source)
        if path is not None:
            known.append((node, path))
    inner = {id(each) for node, _ in known for each in ast.walk(node) if each is not node}
    for node, path in known:
        if id(node) not in inner:
            if not path.is_file():
                raise Untraceable(
                    f"{source}, line {node.lineno}: `{ast.unparse(node)}` is not a file of the project"
                )
            yield path
    followed = {id(each) for node, _ in known for each in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == "__file__" and id(node) not in followed:
            raise Untraceable(
                f"{source}, line {node.lineno}: the code digest follows `Path(__file__)` with parent, "
                "with_name and /, and nothing else of __file__"
            )


def _path_from_file(node: ast.AST, source: Path) -> Path | None:
    """The path that an expression on `Path(__file__)` gives; None for any other expression."""
    if _called(node) == "Path" and ast.unparse(node) == "Path(__file__)":
        return source
    if isinstance(node, ast.Attribute) and node.attr == "parent":
        base = _path_from_file(node.value, source)
        return base and base.parent
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "with_name"
    ):
        base = _path_from_file(node.func.value, source)
        return base and base.with_name(ast.literal_eval(node.args[0]))
    if (
        isinstance(node, ast.BinOp)
        and isinstance(node.op, ast.Div)
        and isinstance(node.right, ast.Constant)
    ):
        base = _path_from_file(node.left, source)
        return base and base / node.right.value
    return None


def _called(node: ast.AST) -> str | None:
    """The name of the function that a node calls, without what it belongs to."""
    if not isinstance(node, ast.Call):
        return None
    return getattr(node.func, "id", getattr(node.func, "attr", None))


def _is_builtin(node: ast.AST, *names: str) -> bool:
    """Whether a node calls one of these by its bare name: `model.eval()` is a method."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names


@cache
def _tree(source: Path) -> ast.Module:
    return ast.parse(source.read_text(encoding="utf-8"))


def _text(source: Path) -> str:
    return hashlib.sha256(source.read_bytes()).hexdigest()


def _syntax(source: Path) -> list:
    return _plain(_tree(source))


def _plain(node: object) -> object:
    """A syntax tree as lists and strings, the same in every version of Python.

    Versions add fields that are empty where their syntax is not used (`type_params` in 3.12), and
    `ast.dump` writes empty fields in some versions only: they are left out here, as are docstrings.
    """
    if isinstance(node, list):
        return [_plain(each) for each in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = {
        name: value for name, value in ast.iter_fields(node) if value is not None and value != []
    }
    fields.pop("kind", None)
    if isinstance(
        node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    ) and _docstring(node):
        fields["body"] = node.body[1:]
    return [type(node).__name__, *([name, _plain(value)] for name, value in sorted(fields.items()))]


def _docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    first = node.body[0] if node.body else None
    return (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    )
