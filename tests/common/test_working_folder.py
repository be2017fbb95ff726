"""The claim of a working folder, where the file system locks no files."""

import errno
import fcntl
import os

import pytest
from beansweep.common import working_folder
from beansweep.common.errors import UserError


@pytest.fixture(autouse=True)
def no_locks(monkeypatch):
    """File locks fail as on NFS without a lock server."""

    def refuse(file, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)


def test_one_sentence_says_what_marks_the_run(tmp_path, capsys):
    with working_folder.claim(tmp_path):
        printed = capsys.readouterr().err
        assert "locks no files (No locks available)" in printed
        assert str(tmp_path / "run.claimed") in printed
        assert len(printed.splitlines()) == 1
        assert working_folder.claimed_at(tmp_path) > 0


def test_a_second_run_is_refused_until_the_first_has_ended(tmp_path):
    first = working_folder.claim(tmp_path)
    with pytest.raises(UserError, match=f"another run .process {os.getpid()} on .* or was killed"):
        working_folder.claim(tmp_path)
    first.close()
    working_folder.claim(tmp_path).close()
    assert not (tmp_path / "run.claimed").exists()


def test_the_lock_of_a_run_at_work_stays(tmp_path):
    lock = tmp_path / "locks/0.output.lock"
    lock.parent.mkdir()
    lock.touch()
    with working_folder.claim(tmp_path):
        working_folder.unlock(tmp_path)
        assert lock.exists()
    working_folder.unlock(tmp_path)
    assert not lock.exists()
