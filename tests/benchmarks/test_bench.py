"""What the benchmark reckons with; its figures are no test, for a machine may be busy."""

import pytest

from tests.benchmarks.__main__ import headline
from tests.benchmarks.load import percentile


def test_a_percentile_lies_within_the_millisecond_that_holds_it() -> None:
    """Whole milliseconds are taken as grouped: the median of four equal ones is their middle."""
    assert percentile([3, 3, 3, 3], 0.5) == pytest.approx(3.0)
    assert percentile([1, 2, 3, 4], 0.5) == pytest.approx(2.5)
    assert percentile([], 0.99) == 0.0


def test_what_was_not_measured_has_no_figure() -> None:
    """A headline without its part is None, never a zero."""
    assert set(headline({}).values()) == {None}
