"""Fixtures of the tests that run the program."""

from collections.abc import Iterator

import pytest

from tests.live.support import end_what_was_started


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    end_what_was_started()
