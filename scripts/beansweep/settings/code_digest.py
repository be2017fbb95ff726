"""A digest of the code that decides a stage's result: a rule reruns when its digest changes.

The digest covers the stage's script, every module of this project that it imports, directly or
not, and every file that such a module reads from its own folder. Code counts as syntax, without
comments and docstrings, in a form that is the same for every version of Python that can parse it.

Only the standard library is imported here, so any interpreter can compute a digest.
"""

import ast
import hashlib
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = "beansweep"
# Modules that decide no result, only how a stage talks, fails and writes: an edit reruns nothing.
DECIDES_NOTHING = (
    "beansweep/common/errors.py",
    "beansweep/common/files.py",
    "beansweep/common/progress.py",
    "beansweep/common/stage.py",
    "beansweep/common/versions.py",
    "beansweep/common/working_folder.py",
)
# Ways to reach other code that a reader of the syntax cannot follow.
_NOT_FOLLOWED = (
    "__import__",
    "import_module",
    "spec_from_file_location",
    "run_module",
    "run_path",
    "getsource",
    "getsourcelines",
)


class Untraceable(Exception):
    """Code reaches other code, or a file, in a way that the digest does not follow."""


@cache
def of_script(script: Path) -> str:
    """Digest of a stage's code.

    Parameters
    ----------
    script : the stage's program; the package lies next to it

    Returns
    -------
    16 hexadecimal digits

    Raises
    ------
    Untraceable
        A module imports another, or reads a file of its folder, in a way that is not followed.
    """
    texts = _texts(script)
    contents = {}
    for source in sources(script):
        content = _text(source) if source in texts else _syntax(source)
        contents[source.relative_to(script.parent).as_posix()] = content
    return hashlib.sha256(json.dumps(sorted(contents.items())).encode()).hexdigest()[:16]


@cache
def sources(script: Path) -> frozenset[Path]:
    """The files that decide a stage's result: script, imported modules, and files they read."""
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
        found.update(_read_files(module))
    return frozenset(found)


@cache
def _imported(source: Path, scripts: Path) -> tuple[Path, ...]:
    """Modules of the package that a file imports, without those that decide nothing."""
    found = []
    for name, line in _imported_names(source, scripts).items():
        path = _module_file(name, scripts)
        if path is None:
            raise Untraceable(
                f"{source}, line {line}: {name} is no module and not in one: "
                "import each module by its full name"
            )
        if path.relative_to(scripts).as_posix() not in DECIDES_NOTHING:
            found.append(path)
    # To import a module is to run the __init__.py of each package around it.
    for package in source.relative_to(scripts).parents[:-1]:
        found.append(scripts / package / "__init__.py")
    return tuple(found)


def _module_file(name: str, scripts: Path) -> Path | None:
    """The file of a module, or of the module that holds a function; None where there is none.

    Of `beansweep.data.manifest` the last part is a module, of `beansweep.data.manifest.read` a
    function.
    """
    parts = name.split(".")
    module = scripts.joinpath(*parts[:-1], f"{parts[-1]}.py")
    if module.is_file():
        return module
    holder = scripts.joinpath(*parts[:-1]).with_suffix(".py")
    return holder if holder.is_file() else None


def _imported_names(source: Path, scripts: Path) -> dict[str, int]:
    """What a file imports of the package: full dotted name -> line.

    A name is that of a module, or of what is in one.

    Raises
    ------
    Untraceable
        The file imports everything of a module (`*`), or by a name that is known only at run time.
    """
    names: dict[str, int] = {}
    for node in ast.walk(_tree(source)):
        _refuse_not_followed(node, source)
        if isinstance(node, ast.Import):
            imported = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = _absolute(node, source, scripts)
            imported = [f"{module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in imported:
            if name.split(".")[0] != PACKAGE:
                continue
            if name.endswith(".*"):
                raise Untraceable(
                    f"{source}, line {node.lineno}: `import *` hides what is imported: name it"
                )
            names[name] = node.lineno
    return names


def _refuse_not_followed(node: ast.AST, source: Path) -> None:
    """Refuse code that is run or read by a name that is known only at run time."""
    # `eval` and `exec` are refused by their bare names alone: `model.eval()` is a method.
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        name = node.func.id if node.func.id in ("eval", "exec") else None
    else:
        name = None
    if isinstance(node, ast.Name) and node.id in _NOT_FOLLOWED:
        name = node.id
    elif isinstance(node, ast.Attribute) and node.attr in _NOT_FOLLOWED:
        name = node.attr
    elif isinstance(node, ast.alias) and node.name in _NOT_FOLLOWED:
        name = node.name
    if name:
        raise Untraceable(
            f"{source}, line {_line(node)}: the code digest does not follow {name}: "
            "import the module by its name, or read its file by `Path(__file__)`"
        )


def _absolute(node: ast.ImportFrom, source: Path, scripts: Path) -> str:
    """The dotted name of the module that a `from ... import` names, relative or not."""
    if not node.level:
        return node.module or ""
    package = source.relative_to(scripts).parent.parts
    above = package[: max(0, len(package) - node.level + 1)]
    if not above:
        raise Untraceable(f"{source}, line {node.lineno}: a relative import leads out of {PACKAGE}")
    return ".".join([*above, *([node.module] if node.module else [])])


@cache
def _read_files(source: Path) -> tuple[Path, ...]:
    """Files that a module names by their path from `Path(__file__)`.

    Followed are `.parent`, `.with_name("...")` and `/ "..."`.

    Raises
    ------
    Untraceable
        Such a path is not a file, or `__file__` is used in another way.
    """
    return tuple(_files_below(_tree(source), source))


def _files_below(node: ast.AST, source: Path) -> Iterator[Path]:
    """Files that a node or its parts name; the longest path from `Path(__file__)` counts."""
    path = _path_from_file(node, source)
    if path is not None and path != source:
        if not path.is_file():
            raise Untraceable(
                f"{source}, line {_line(node)}: `{ast.unparse(node)}` is not a file of the project"
            )
        yield path
        return
    if isinstance(node, ast.Name) and node.id == "__file__":
        raise Untraceable(
            f"{source}, line {node.lineno}: the code digest follows `Path(__file__)` with parent, "
            "with_name and /, and nothing else of __file__"
        )
    for child in ast.iter_child_nodes(node):
        yield from _files_below(child, source)


def _path_from_file(node: ast.AST, source: Path) -> Path | None:
    """The path that an expression on `Path(__file__)` gives; None for any other expression."""
    match node:
        case ast.Call(func=ast.Name("Path"), args=[ast.Name("__file__")], keywords=[]):
            return source
        case ast.Attribute(value=inner, attr="parent"):
            base = _path_from_file(inner, source)
            return base and base.parent
        case ast.Call(
            func=ast.Attribute(value=inner, attr="with_name"), args=[ast.Constant(str(name))]
        ):
            base = _path_from_file(inner, source)
            return base and base.with_name(name)
        case ast.BinOp(left=inner, op=ast.Div(), right=ast.Constant(str(name))):
            base = _path_from_file(inner, source)
            return base and base / name
    return None


def _line(node: ast.AST) -> int:
    """The line of an expression or a statement in its file."""
    return getattr(node, "lineno", 1)


@cache
def _syntax(source: Path) -> object:
    return _plain(_tree(source))


@cache
def _tree(source: Path) -> ast.Module:
    return ast.parse(source.read_text(encoding="utf-8"))


def _text(source: Path) -> str:
    return hashlib.sha256(source.read_bytes()).hexdigest()


def _plain(node: object) -> object:
    """A syntax tree as lists and strings, the same in every version of Python.

    Versions add fields that are empty where their syntax is not used (`type_params` in 3.12), and
    an empty string at the end of a format (3.12.1). What is empty is left out, as are docstrings.
    """
    if isinstance(node, list):
        return [_plain(element) for element in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    parts: list[object] = [type(node).__name__]
    for name, value in sorted(ast.iter_fields(node)):
        if name == "body" and _has_docstring(node):
            value = value[1:]
        if isinstance(node, ast.JoinedStr):
            value = [part for part in value if getattr(part, "value", None) != ""]
        # `kind` tells u"a" from "a".
        if value is not None and value != [] and name != "kind":
            parts.append([name, _plain(value)])
    return parts


def _has_docstring(node: ast.AST) -> bool:
    """Whether a module, a class or a function begins with a docstring."""
    if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    match node.body:
        case [ast.Expr(ast.Constant(str())), *_]:
            return True
    return False
