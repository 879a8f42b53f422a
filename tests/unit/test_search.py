"""The search for the highest rate that holds, against servers that are only simulated (issue
6.5)."""

import math
import random
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.stats import resolvable
from harness.search import Found, Outcome, Search, operations_to_judge

HELD, MISSED, GENERATOR = Outcome
Serve = Callable[[float], Outcome]
searches = st.builds(
    Search,
    lowest=st.floats(0.5, 2000),
    highest=st.floats(4000, 200_000),
    width=st.floats(0.005, 1),
    repeats=st.integers(1, 7),
)


def searched(search: Search, serve: Serve) -> tuple[Found, dict[float, list[Outcome]]]:
    """What a search finds at a server, and its trials."""
    outcomes: dict[float, list[Outcome]] = {}
    while (rate := search.following(outcomes)) is not None:
        outcomes.setdefault(rate, []).append(serve(rate))
        assert sum(map(len, outcomes.values())) <= search.most
    return search.found(outcomes), outcomes


@given(searches)
def test_neighbours_of_the_grid_are_within_the_width(search: Search) -> None:
    rates = search.rates
    assert (rates[0], rates[-1]) == (search.lowest, search.highest)
    for below, above in pairwise(rates):
        assert below < above <= below * (1 + search.width)


@given(searches, st.floats(1, 300_000))
def test_a_capacity_without_noise_is_found_to_the_width(search: Search, capacity: float) -> None:
    found, outcomes = searched(search, lambda rate: HELD if rate <= capacity else MISSED)
    assert found.settled
    assert not found.by_generator
    if capacity < search.lowest:
        assert found == Found(None, search.lowest, True, False)
        assert set(outcomes) == {search.lowest}
    elif capacity >= search.highest:
        assert found == Found(search.highest, None, True, False)
    else:
        assert found.held is not None
        assert found.missed is not None
        assert found.held <= capacity < found.missed <= found.held * (1 + search.width)
        for rate in (found.held, found.missed):
            assert 2 * len(outcomes[rate]) >= search.repeats


@given(searches, st.integers(0, 2**32), st.floats(0, 1))
def test_a_search_ends_whatever_it_is_told(search: Search, seed: int, share: float) -> None:
    draw = random.Random(seed)

    def whatever(rate: float) -> Outcome:
        return HELD if draw.random() < share else draw.choice((MISSED, GENERATOR))

    found, outcomes = searched(search, whatever)
    assert set(outcomes) <= set(search.rates)
    assert all(len(each) <= search.repeats for each in outcomes.values())
    assert found.held is None or found.missed is None or found.held < found.missed
    for rate, holds in ((found.held, True), (found.missed, False)):
        if rate is not None:
            assert (2 * outcomes[rate].count(HELD) > len(outcomes[rate])) is holds


@given(searches, st.floats(1, 300_000), st.floats(1, 300_000))
def test_a_server_that_carries_more_is_not_found_to_carry_less(
    search: Search, one: float, other: float
) -> None:
    less, more = sorted((one, other))
    found = [
        searched(search, lambda rate: HELD if rate <= less else MISSED)[0].held,
        searched(search, lambda rate: HELD if rate <= more else MISSED)[0].held,
    ]
    assert (found[0] or 0) <= (found[1] or 0)


def test_through_noise_it_is_found_within_a_twentieth() -> None:
    """Around the capacity chance decides: p99 of an M/D/1-like server, drawn with 12% of noise, and
    one trial in fifty that the machine spoils."""
    search = Search(100, 6400, 0.05, 3)
    draw = random.Random(6)
    errors = []
    for capacity in [random.Random(n).uniform(150, 3000) for n in range(400)]:

        def noisy(rate: float, capacity: float = capacity) -> Outcome:
            # The latency's ratio to the objective grows as the rate's to the power of three.
            spoilt = draw.random() < 0.02
            latency = (rate / capacity) ** 3 * math.exp(draw.gauss(0, 0.12))
            return HELD if latency <= 1 and not spoilt else MISSED

        found, _ = searched(search, noisy)
        if found.settled:
            between = math.sqrt((found.held or math.inf) * (found.missed or math.inf))
            errors.append(abs(between / capacity - 1))
    errors.sort()
    assert len(errors) >= 0.9 * 400
    assert errors[len(errors) // 2] < 0.03
    assert errors[int(len(errors) * 0.9)] < 0.06


def test_one_spoilt_trial_is_outvoted() -> None:
    """The first miss is the machine's doing: the search finds what it would have found without."""
    search = Search(100, 6400, 0.05, 3)
    told: list[float] = []

    def spoilt_once(rate: float) -> Outcome:
        told.append(rate)
        if rate == 200 and told.count(200) == 1:
            return MISSED
        return HELD if rate <= 1000 else MISSED

    found, outcomes = searched(search, spoilt_once)
    clean, _ = searched(search, lambda rate: HELD if rate <= 1000 else MISSED)
    assert outcomes[200] == [MISSED, HELD, HELD]
    assert (found.held, found.missed) == (clean.held, clean.missed)


def test_what_the_generator_could_not_send_is_not_the_services_limit() -> None:
    search = Search(100, 6400, 0.05, 3)
    found, _ = searched(search, lambda rate: HELD if rate < 1000 else GENERATOR)
    assert found.by_generator
    assert found.held is not None
    assert found.held < 1000
    mixed = {100.0: [HELD], 200.0: [GENERATOR, MISSED, MISSED]}
    assert not search.found(mixed).by_generator


def test_what_was_cut_short_says_what_is_known() -> None:
    search = Search(100, 6400, 0.05, 3)
    assert search.found({}) == Found(None, None, False, False)
    assert search.following({}) == 100
    assert search.found({100.0: [HELD], 200.0: [HELD]}) == Found(200, None, False, False)
    assert search.found({100.0: [HELD], 200.0: [MISSED]}) == Found(100, 200, False, False)
    assert search.found({100.0: [MISSED]}) == Found(None, 100, False, False)
    assert search.found({100.0: [MISSED, MISSED]}) == Found(None, 100, True, False)


@pytest.mark.parametrize("percentile", [50, 90, 99, 99.5, 99.9])
def test_a_trial_is_long_enough_for_its_percentile(percentile: float) -> None:
    meant = operations_to_judge(percentile)
    assert resolvable(int(meant - 4 * math.sqrt(meant)) + 1, percentile)
    assert not resolvable(max(int(meant - 5 * math.sqrt(meant)) - 1, 1), percentile)
