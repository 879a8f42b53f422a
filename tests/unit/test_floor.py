"""The floor of receiving, by real sockets: order, accounts of descriptors, limits."""

import errno
import gc
import os
import resource
import select
from collections.abc import Iterator

import psutil
import pytest

from harness.load import floor
from harness.load.floor import MAX_SIZE, raise_descriptor_limit, receiving_floor

on_linux = pytest.mark.skipif(not hasattr(select, "epoll"), reason="no epoll")


def descriptors() -> int:
    """How many this process has open."""
    return psutil.Process().num_fds()


@pytest.fixture(autouse=True)
def limits() -> Iterator[None]:
    """What a test does to the descriptor limit ends with it."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def low_limit(limits: None) -> int:
    """A soft limit a little above what is open."""
    limit = descriptors() + 50
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return limit


@on_linux
@pytest.mark.parametrize(("count", "size"), [(1, 1), (1, MAX_SIZE), (3, 256), (200, 256)])
def test_the_first_is_read_before_the_last(count: int, size: int) -> None:
    raise_descriptor_limit(1_000)
    before = descriptors()
    found = receiving_floor(count, size, rounds=5)
    assert 0 < found.first_us <= found.median_us <= found.last_us
    if count == 1:
        assert found.first_us == found.median_us == found.last_us
    assert descriptors() == before
    assert gc.isenabled()


@on_linux
def test_a_message_that_comes_in_parts_counts_when_it_is_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real_read = os.read
    reads = []

    def read_a_part(descriptor: int, size: int) -> bytes:
        reads.append(descriptor)
        return real_read(descriptor, min(size, 100))

    monkeypatch.setattr(os, "read", read_a_part)
    receiving_floor(4, 256, rounds=2)
    assert len(reads) == 4 * 3 * 2


@on_linux
def test_too_few_descriptors_is_said_before_any_is_taken(low_limit: int) -> None:
    before = descriptors()
    with pytest.raises(OSError, match="descriptors are needed") as caught:
        receiving_floor(100)
    assert caught.value.errno == errno.EMFILE
    assert descriptors() == before


@on_linux
def test_descriptors_are_given_back_when_it_fails(
    low_limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(floor, "_check_descriptors", lambda _: None)
    before = descriptors()
    with pytest.raises(OSError, match="Too many open files"):
        receiving_floor(100)
    assert descriptors() == before


@pytest.mark.parametrize(
    ("count", "size", "rounds"), [(0, 256, 1), (1, 0, 1), (1, MAX_SIZE + 1, 1), (1, 256, 0)]
)
def test_what_cannot_be_measured_is_refused(count: int, size: int, rounds: int) -> None:
    with pytest.raises(ValueError, match="count"):
        receiving_floor(count, size, rounds)


def test_the_limit_is_raised_to_what_is_wanted_and_never_lowered(low_limit: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert raise_descriptor_limit(low_limit + 1) == low_limit + 1
    assert raise_descriptor_limit(1) == low_limit + 1
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (low_limit + 1, hard)


def test_the_limit_is_raised_no_further_than_the_hard_one(low_limit: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert raise_descriptor_limit(hard + 1) == hard
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
