"""A note in a prepared model of the integer rewrites that did not fit it.

It has a module of its own: what reads the note does not depend on the rewrites.
"""

import json

import onnx_ir as ir

_KEY = "undone_rewrites"


def write(prepared: ir.Model, names: list[str]) -> None:
    """Write the names into a prepared model; without names nothing is written."""
    if names:
        prepared.metadata_props[_KEY] = json.dumps(names)


def read(prepared: ir.Model) -> list[str]:
    """Return the names of the integer rewrites that did not fit a prepared model."""
    return json.loads(prepared.metadata_props.get(_KEY, "[]"))
