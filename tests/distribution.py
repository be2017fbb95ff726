"""A plugin of pytest: which tests are slow, and which of them run in the same process.

Both follow from where a test is and what fixtures it uses; a test that is slow for another reason
has the mark `slow` itself. pytest-xdist gives each group to one process (`--dist loadgroup`).
"""

import pytest

# Sweeps that run to their end, which the tests of several files share.
SWEEP_FIXTURES = {"finished", "killed"}
# These, a trained network, and a browser.
SLOW_FIXTURES = {*SWEEP_FIXTURES, "trained", "browser"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark slow tests, and give each test its group."""
    for item in items:
        if item.path.parent.name == "workflow" or SLOW_FIXTURES & set(item.fixturenames):
            item.add_marker("slow")
        item.add_marker(pytest.mark.xdist_group(group(item)))


def group(item: pytest.Item) -> str:
    """One group for all tests of a finished sweep; one a file for the others."""
    return "sweep" if SWEEP_FIXTURES & set(item.fixturenames) else item.path.stem
