"""Decisions stay cheap: compared within one run, so that a slow machine is no failure.

What else the machine does can only make a round slower, so the best of several comparisons is the one that counts.
"""

from processor.wire.state import encode_site
from tests.benchmarks.decide_bench import bare, enrolled_site, with_codecs


def test_a_decision_costs_the_same_however_long_a_charger_is_known() -> None:
    """After 2,000 events neither the time that a decision takes nor the state has grown."""
    fresh, old = enrolled_site(1), enrolled_site(1_000)
    assert min(bare(fresh, 200) / bare(old, 200) for _ in range(4)) < 1.3
    assert abs(len(encode_site(old)) - len(encode_site(fresh))) <= 16


def test_reading_and_writing_costs_at_most_four_times_the_decision() -> None:
    """So the codecs never become the greater part unnoticed."""
    site = enrolled_site()
    assert min(bare(site, 200) / with_codecs(site, paths=200) for _ in range(4)) < 5
