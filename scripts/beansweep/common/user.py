"""The user that runs a sweep."""

import getpass
import os


def name_unknown() -> None:
    """Give a user without an account a name, as a container may have one: the user's number.

    Snakemake and torch ask for the name, and end where there is none.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError):  # OSError from Python 3.13 on.
        os.environ["USER"] = str(os.getuid())
