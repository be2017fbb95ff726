"""Digests are kept until a file changes that could change one."""

from beansweep.settings import code_digest, kept_digests


def write(folder, texts):
    for name, text in texts.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def test_unchanged_code_is_not_parsed_again_and_changed_code_is(tmp_path, monkeypatch):
    scripts, cache = tmp_path / "scripts", tmp_path / "code.json"
    texts = {
        "train.py": "from beansweep.models import training\n",
        "beansweep/models/training.py": "RATE = 1\n",
        "beansweep/models/__init__.py": "",
        "beansweep/__init__.py": "",
    }
    write(scripts, texts)
    parsed, of_script = [], code_digest.of_script

    def counted(script):
        parsed.append(script.stem)
        for function in ("_syntax", "_tree", "_imported", "_modules", "_texts", "_read_files"):
            getattr(code_digest, function).cache_clear()
        of_script.cache_clear()
        return of_script(script)

    monkeypatch.setattr(code_digest, "of_script", counted)
    first = kept_digests.of_stages(scripts, cache)
    assert kept_digests.of_stages(scripts, cache) == first
    assert parsed == ["train"]
    write(scripts, {"beansweep/models/training.py": "RATE = 10\n"})
    second = kept_digests.of_stages(scripts, cache)
    assert parsed == ["train", "train"]
    assert second != first
    assert second == {"train": of_script(scripts / "train.py")}
