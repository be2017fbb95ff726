"""Work that threads share."""

from beansweep.common import threads


def test_results_are_in_order_and_a_block_of_items_is_taken_at_a_time():
    taken, found = [], []
    items = (taken.append(number) or number for number in range(100))
    for item, result in threads.ordered(lambda number: number**2, items, threads=2):
        assert result == item**2
        assert len(taken) - len(found) <= 16
        found.append(item)
    assert found == list(range(100))
