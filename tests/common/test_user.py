"""A user without an account."""

import getpass
import os
import pwd

from beansweep.common import user


def test_a_user_without_an_account_is_named_by_the_number(monkeypatch):
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(variable, "")

    def unknown(number):
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    user.name_unknown()
    assert getpass.getuser() == str(os.getuid())


def test_a_user_who_has_a_name_keeps_it(monkeypatch):
    monkeypatch.setenv("LOGNAME", "ada")
    user.name_unknown()
    assert getpass.getuser() == "ada"
