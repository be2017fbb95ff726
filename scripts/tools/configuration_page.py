"""Write docs/configuration.md: every key of config.yaml with its default and its meaning.

python scripts/tools/configuration_page.py

The texts and the defaults come from workflow/schemas/config.schema.yaml.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

PROJECT = Path(__file__).resolve().parents[2]
SCHEMA = PROJECT / "workflow/schemas/config.schema.yaml"
PAGE = PROJECT / "docs/configuration.md"

INTRODUCTION = """\
# Configuration

`config.yaml` is the default sweep. Put your changes into a file of your own and name it with
`--configfile`:

    snakemake --cores 4 results/pareto.md --configfile mine.yaml

Your file is merged over `config.yaml` key by key. A list replaces the whole list. A misspelt key
stops the run with one sentence that names the nearest known key.

Write `0.001` and not `1e-3`, which YAML reads as a text. A variant or calibration under a new name
needs all the keys of its kind. Under a name of `config.yaml` it needs only what you change.

This page is made from `workflow/schemas/config.schema.yaml` by
`python scripts/tools/configuration_page.py`.
"""
# What a person chooses the name of, in a key: calibration.{name}.method.
NAME = "{name}"


@dataclass
class Key:
    """One key of the configuration.

    Attributes
    ----------
    name : its full name, such as train.epochs or variants.{name}.quantizer
    description : its meaning, in Markdown
    default : a value of config.yaml; `...` where it has none
    """

    name: str
    description: str
    default: object = ...


def resolve(schema: dict, node: dict) -> dict:
    """A part of the schema with its `$ref` filled in; what stands next to the `$ref` wins."""
    if "$ref" not in node:
        return node
    name = node["$ref"].rpartition("/")[2]
    return {**resolve(schema, schema["$defs"][name]), **node}


def keys(schema: dict, node: dict, name: str) -> Iterator[Key]:
    """All keys at and below one part of the schema.

    Parameters
    ----------
    schema : the whole schema
    node : the part
    name : full name of the key that the part describes
    """
    node = resolve(schema, node)
    if "default" in node:
        yield Key(name, node["description"], node["default"])
    elif "properties" in node:
        for key, child in node["properties"].items():
            yield from keys(schema, child, f"{name}.{key}")
    elif "additionalProperties" in node:
        yield from keys(schema, node["additionalProperties"], f"{name}.{NAME}")
    elif "description" in node:
        yield Key(name, node["description"])


def recipes(schema: dict) -> Iterator[tuple[str, list[Key]]]:
    """Each kind of quantizer, with the keys of its recipes."""
    for branch in schema["properties"]["variants"]["additionalProperties"]["allOf"]:
        kind = branch["if"]["properties"]["quantizer"]["const"]
        yield kind, list(keys(schema, branch["then"], f"variants.{NAME}"))


def sections(schema: dict) -> Iterator[tuple[str, str, list[Key]]]:
    """The tables of the page: heading, text above the table, keys."""
    for name, node in schema["properties"].items():
        found = list(keys(schema, node, name))
        text = "" if found[0].name == name else resolve(schema, node)["description"]
        yield f"## `{name}`", text, found
        if name == "variants":
            for kind, recipe in recipes(schema):
                yield f"### Quantizer `{kind}`", "", recipe


def table(rows: list[Key]) -> str:
    """A Markdown table of some keys."""
    lines = ["| key | default | meaning |", "| --- | --- | --- |"]
    for key in rows:
        default = "" if key.default is ... else f"`{written(key.default)}`"
        lines.append(f"| `{key.name}` | {default} | {key.description} |")
    return "\n".join(lines)


def written(value: object) -> str:
    """A value as it stands in config.yaml: JSON, which YAML reads, with bare words in lists."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    return json.dumps(value)


def page(schema: dict) -> str:
    """The text of docs/configuration.md."""
    parts = [INTRODUCTION]
    for heading, text, rows in sections(schema):
        parts += [heading + "\n"]
        if text:
            parts += [text + "\n"]
        parts += [table(rows) + "\n"]
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))), encoding="utf-8")
    print(f"configuration_page: {PAGE.relative_to(PROJECT)}")
