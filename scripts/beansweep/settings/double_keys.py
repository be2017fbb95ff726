"""Keys that a file of the configuration has twice: YAML and JSON keep the last, silently."""

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from beansweep.common.errors import UserError


class _Loader(yaml.SafeLoader):
    """A reader that refuses a mapping with the same key twice."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        mapping = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in mapping.value:
            line = key.start_mark.line + 1
            # The tag tells 8 from "8". Of several merge keys `<<`, none is lost.
            name = (key.tag, str(key.value))
            if name in lines and key.tag != "tag:yaml.org,2002:merge":
                raise UserError(
                    f"{self.name}: the key '{key.value}' of line {lines[name]} is there again in "
                    f"line {line}: remove one of the two"
                )
            lines[name] = line
        return mapping


def refuse(paths: Iterable[Path]) -> None:
    """Refuse files of the configuration that have a key twice in one place.

    Parameters
    ----------
    paths : files that Snakemake has read already, as YAML or JSON

    Raises
    ------
    UserError
        A file has a key twice.
    """
    for path in paths:
        with path.open(encoding="utf-8") as file, contextlib.suppress(yaml.YAMLError):
            # JSON that is no YAML, such as with tabs, is not looked at.
            _Loader(file).get_single_node()
