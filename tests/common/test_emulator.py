"""The emulator: which program emulates a processor, and what is said where none does."""

import sys
from importlib import metadata

import pytest
from beansweep.common import emulator
from beansweep.common.errors import UserError


@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        ("cortex-a53", "aarch64"),
        ("neoverse-n1", "aarch64"),
        ("max,sme=off", "aarch64"),
        ("Haswell", "x86_64"),
        ("Nehalem", "x86_64"),
    ],
)
def test_the_architecture_follows_from_the_name_of_the_processor(tmp_path, processor, expected):
    assert emulator.architecture(processor) == expected
    program, option, name, *_ = emulator.python(tmp_path, processor)
    assert program == str(tmp_path / f"qemu-{expected}")
    assert (option, name) == ("-cpu", processor)


def test_x86_runs_the_python_that_runs_now_and_arm_one_of_its_own(tmp_path):
    assert emulator.python(tmp_path, "Haswell")[-1] == sys.executable
    assert emulator.python(tmp_path, "cortex-a53")[-1] == str(tmp_path / "aarch64/usr/bin/python3")


def test_nothing_that_is_set_for_this_python_reaches_the_emulated_one(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    assert "PYTHONPATH" not in emulator.environment()
    assert emulator.environment(tmp_path)["PYTHONPATH"] == str(tmp_path)


@pytest.fixture
def folder(tmp_path):
    """A folder with QEMUs that know no processor but ARM's cortex-a1."""
    (tmp_path / "ready").write_text(metadata.version("onnxruntime"))
    for name in ("qemu-aarch64", "qemu-x86_64"):
        program = tmp_path / name
        program.write_text(
            "#!/bin/sh\n"
            'if [ "$2" = help ]; then echo Available CPUs:; echo "  cortex-a1"; exit 0; fi\n'
            '[ "$2" = cortex-a1 ] || { echo "unable to find CPU model $2" >&2; exit 1; }\n'
        )
        program.chmod(0o755)
    return tmp_path


def test_an_unknown_processor_is_refused_in_one_sentence(folder):
    emulator.check(folder, "cortex-a1", "devices.pi.emulate")
    with pytest.raises(UserError) as error:
        emulator.check(folder, "Pentium", "devices.pi.emulate")
    assert str(error.value) == (
        "devices.pi.emulate: QEMU has no processor Pentium (unable to find CPU model Pentium): "
        "name one of ARM (cortex-a1) or of x86, such as Haswell"
    )


def test_without_an_emulator_and_with_one_of_another_version_make_arm_is_named(folder):
    (folder / "ready").write_text("1.0")
    with pytest.raises(UserError, match=r"is not for ONNX Runtime .* make arm"):
        emulator.check(folder, "cortex-a1", "devices.pi.emulate")
    with pytest.raises(UserError, match=r"no emulator in .*: set it up with make arm"):
        emulator.check(folder / "nowhere", "cortex-a1", "devices.pi.emulate")


def test_time_grows_with_images_and_their_size():
    assert emulator.duration(100, 96, "cortex-a76") == "10 s to 90 s"
    assert emulator.duration(1000, 192, "cortex-a76") == "7 min to 60 min"
    assert emulator.duration(100, 96, "Haswell") == "20 s to 17 min"
