"""A key that a file has twice is refused; merge keys and aliases are no such thing."""

import pytest
from beansweep.common.errors import UserError
from beansweep.settings import double_keys
from conftest import PROJECT


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train:\n  epochs: 3\n  seed: 0\n  epochs: 4\n", "'epochs' of line 2 .* in line 4"),
        ("train: {epochs: 3}\nbench: {}\ntrain: {epochs: 3}\n", "'train' of line 1 .* in line 3"),
        ('{"backbones": ["a"],\n "backbones": ["b"]}', "'backbones' of line 1 .* in line 2"),
        ("variants:\n- {a: 1,\n   'a': 2}\n", "'a' of line 2 .* in line 3"),
    ],
)
def test_a_key_twice_is_refused_by_its_lines(tmp_path, text, words):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=rf"mine\.yaml: the key {words}"):
        double_keys.refuse([path])


@pytest.mark.parametrize(
    "text",
    [
        "a: &a {x: 1}\nb: {<<: *a, x: 2}\nc: *a\n",
        "a: &a {x: 1}\nb: &b {y: 1}\nc: {<<: *a, <<: *b}\n",
        '{8: 1, "8": 2}',
        '{\n\t"a": 1}',
        "",
    ],
)
def test_other_files_are_taken(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    double_keys.refuse([path, PROJECT / "config.yaml"])
