"""How messages are spread over partitions (issue 7.2: `Kafka spreads messages round-robin`)."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.spread import Spread, added, spread
from harness.results import Arrivals


def arrivals(rows: list[tuple[int, int]], damaged: frozenset[int] = frozenset()) -> Arrivals:
    """Rows of (sequence, partition) in the order in which they arrived."""
    sequence = np.array([each for each, _ in rows], np.int64)
    return Arrivals(
        producer=np.ones(len(rows), np.int64),
        sequence=sequence,
        at=np.arange(len(rows), dtype=np.int64),
        partition=np.array([place for _, place in rows], np.int32),
        worker=np.zeros(len(rows), np.int32),
        intact=np.array([i not in damaged for i in range(len(rows))], np.bool_),
    )


@given(st.integers(2, 9), st.integers(2, 60), st.randoms())
def test_in_turn_every_message_goes_to_the_one_that_follows(
    partitions: int, count: int, random: object
) -> None:
    rows = [(n, n % partitions) for n in range(count)]
    random.shuffle(rows)  # type: ignore[attr-defined]
    seen = min(partitions, count)
    assert spread(arrivals(rows)) == Spread(seen, count - 1, count - 1, 0)


def test_to_one_partition_nothing_goes_elsewhere() -> None:
    assert spread(arrivals([(0, 3), (1, 3), (2, 3)])) == Spread(1, 2, 0, 2)


def test_only_neighbours_of_which_both_arrived_are_a_pair() -> None:
    rows = [(0, 0), (1, 1), (3, 0), (4, 1), (5, 1)]
    assert spread(arrivals(rows)) == Spread(2, 3, 2, 1)


def test_a_repeat_and_a_damaged_arrival_do_not_count() -> None:
    rows = [(0, 0), (1, 1), (0, 1), (2, 0)]
    assert spread(arrivals(rows, frozenset([3]))) == Spread(2, 1, 1, 0)


def test_nothing_arrived() -> None:
    assert spread(arrivals([])) == Spread(0, 0, 0, 0)


def test_trials_are_added_up() -> None:
    assert added([]) is None
    assert added([Spread(2, 10, 3, 4), Spread(4, 20, 5, 6)]) == Spread(4, 30, 8, 10)
