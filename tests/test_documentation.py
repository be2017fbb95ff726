"""README, docs, config.yaml and its schema agree with each other, in plain English."""

import ast
import graphlib
import re
from pathlib import Path

import configuration_page
import pytest
import yaml
from conftest import PROJECT

README = PROJECT / "README.md"
DOCS = sorted((PROJECT / "docs").glob("*.md"))
TEXTS = [README, *DOCS]
PAGES = [*TEXTS, PROJECT / "CHANGELOG.md", PROJECT / "CONTRIBUTING.md"]
CONFIG = yaml.safe_load((PROJECT / "config.yaml").read_text())
SCHEMA = yaml.safe_load(configuration_page.SCHEMA.read_text())
PAGE = (PROJECT / "docs/configuration.md").read_text()

README_LINES = 150
LONGEST_SENTENCE = 35
AVERAGE_SENTENCE = 20
# Words that have a plainer one.
UNWANTED = re.compile(r"\b(anew|beside|mend|whose|lest)\b", re.IGNORECASE)


# The configuration: config.yaml, its schema and its page.


def schema_keys() -> dict[str, dict[str, configuration_page.Key]]:
    """Section, or for the recipes of variants `variants.{quantizer}` -> full name -> key."""
    found: dict[str, dict[str, configuration_page.Key]] = {}
    for name, node in SCHEMA["properties"].items():
        found[name] = {key.name: key for key in configuration_page.keys(SCHEMA, node, name)}
    for kind, recipe in configuration_page.recipes(SCHEMA):
        found[f"variants.{kind}"] = {key.name: key for key in recipe}
    return found


def leaves(value: object, name: str, known: set[str]) -> dict[str, object]:
    """Full name -> value of each key of a configuration; known keys are not entered."""
    if not isinstance(value, dict) or name in known:
        return {name: value}
    found = {}
    for key, child in value.items():
        found |= leaves(child, f"{name}.{key}", known)
    return found


def test_every_key_has_a_description_and_a_default():
    for keys in schema_keys().values():
        for key in keys.values():
            assert key.description.endswith("."), key
            assert key.default is not ... or key.name == "variants.{name}.quantizer", key


@pytest.mark.parametrize("section", sorted(set(CONFIG) - {"calibration", "variants"}))
def test_config_and_schema_have_the_same_keys_and_defaults(section):
    keys = schema_keys()[section]
    defaults = {name: key.default for name, key in keys.items()}
    assert leaves(CONFIG[section], section, set(keys)) == defaults


def test_calibrations_have_the_keys_of_the_schema_and_the_defaults_are_those_of_minmax():
    keys = schema_keys()["calibration"]
    for name, recipe in CONFIG["calibration"].items():
        values = leaves(recipe, "calibration.{name}", set(keys))
        assert set(values) == set(keys)
        if name == "minmax":
            assert values == {name: key.default for name, key in keys.items()}


@pytest.mark.parametrize("name", CONFIG["variants"])
def test_variants_have_the_keys_of_their_quantizer_and_its_defaults(name):
    recipe = {key: value for key, value in CONFIG["variants"][name].items() if key != "baseline"}
    quantizer = recipe.pop("quantizer")
    keys = schema_keys()[f"variants.{quantizer}"]
    # What is left out of a recipe is no baseline.
    assert keys.pop("variants.{name}.baseline").default is False
    values = leaves(recipe, "variants.{name}", set(keys))
    assert set(values) == set(keys)
    if name == f"int8_{quantizer}":
        assert values == {name: key.default for name, key in keys.items()}


def test_every_quantizer_has_the_variant_that_its_defaults_are_of():
    for quantizer, _ in configuration_page.recipes(SCHEMA):
        if quantizer == "activation_swap":
            continue  # See the next test.
        assert CONFIG["variants"][f"int8_{quantizer}"]["quantizer"] == quantizer


def test_the_variant_that_is_a_comment_in_the_configuration_is_valid_and_has_the_defaults():
    lines = (PROJECT / "config.yaml").read_text().splitlines()
    start = lines.index(next(line for line in lines if "# int8_hardswish: {" in line))
    text = "\n".join(line.replace("# ", "", 1) for line in lines[start : start + 2])
    recipe = yaml.safe_load(text)["int8_hardswish"]
    keys = SCHEMA["$defs"]["activation_swap"]["properties"]
    assert recipe["base"] in CONFIG["variants"]
    for key in SCHEMA["$defs"]["activation_swap"]["required"]:
        if key != "base":
            assert recipe[key] == keys[key]["default"]


def test_the_page_is_what_the_schema_gives():
    assert configuration_page.page(SCHEMA) == PAGE, "run scripts/tools/configuration_page.py"


def test_the_page_has_every_key_of_the_schema():
    for keys in schema_keys().values():
        for name in keys:
            assert f"| `{name}` |" in PAGE


# Rules, links and lengths.


def diagram() -> str:
    """The mermaid diagram of the rules."""
    text = (PROJECT / "docs/artifacts-and-rules.md").read_text()
    return re.findall(r"^```mermaid\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[0]


def test_every_rule_is_in_the_diagram():
    shown = set(re.findall(r"\|(\w+)\|", diagram()))
    for rules in (PROJECT / "workflow/rules").glob("*.smk"):
        for rule in re.findall(r"^\s*(?:rule|checkpoint) (\w+):", rules.read_text(), re.MULTILINE):
            assert rule in shown, f"{rules.name}: {rule}"


def test_the_diagram_has_no_cycle():
    sorter = graphlib.TopologicalSorter()
    for line in diagram().splitlines()[1:]:
        sources, targets = re.split(r"\s*-->(?:\|\w+\|)?\s*", line.strip())
        for target in re.findall(r"(?:^| & )(\w+)", targets):
            sorter.add(target, *re.findall(r"(?:^| & )(\w+)", sources))
    sorter.prepare()


def prose(text: str) -> str:
    """A page without its code blocks."""
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_relative_link_leads_to_a_file(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page.read_text())):
        path = target.partition("#")[0]
        if path and not re.match(r"[a-z]+:", target):
            assert (page.parent / path).exists(), f"{page.name} links to {target}"


def test_the_readme_is_short():
    assert len(README.read_text().splitlines()) <= README_LINES


# English.


def paragraphs(page: Path) -> list[str]:
    """The prose of a page: no code blocks, tables, headings, comments or marks of lists."""
    text = re.sub(r"<!--.*?-->", "", prose(page.read_text()), flags=re.DOTALL)
    found = [""]
    for line in text.splitlines():
        if re.match(r"    \S|\t|#|\s*\|", line) or not line.strip():
            found.append("")
            continue
        mark = re.match(r"\s*(?:[-*] |\d+\. |> ?)?", line).group()
        if mark.strip() not in ("", ">"):
            found.append("")
        found[-1] += line[len(mark) :] + " "
    return [paragraph for paragraph in found if paragraph.strip()]


def sentences(paragraph: str) -> list[str]:
    """The sentences of a paragraph, with inline code as one word and links as their text."""
    text = re.sub(r"`[^`]*`", "Code", paragraph)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    parts = re.split(r"(?<=[.!?])[*_)\"]*\s+(?=[*_(\"]*[A-Z0-9])", text)
    return [part for part in parts if re.search(r"\w", part)]


@pytest.mark.parametrize("page", TEXTS, ids=lambda path: path.name)
def test_sentences_are_short(page):
    lengths = []
    for paragraph in paragraphs(page):
        for sentence in sentences(paragraph):
            lengths.append(len(sentence.split()))
            assert lengths[-1] <= LONGEST_SENTENCE, sentence
    assert sum(lengths) / len(lengths) <= AVERAGE_SENTENCE


@pytest.mark.parametrize(
    "page",
    [*PAGES, PROJECT / "config.yaml", configuration_page.SCHEMA],
    ids=lambda path: path.name,
)
def test_words_are_plain(page):
    for number, line in enumerate(page.read_text().splitlines(), 1):
        assert not UNWANTED.search(line), f"{page.name}, line {number}: {line}"


def test_words_of_messages_and_docstrings_are_plain():
    found = []
    for source in sorted((PROJECT / "scripts").rglob("*.py")):
        for node in ast.walk(ast.parse(source.read_text())):
            if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
                continue
            for word in UNWANTED.findall(node.value):
                found.append(f"{source.relative_to(PROJECT)}, line {node.lineno}: {word}")
    assert not found, "\n".join(found)
