"""Leases: the right to write, which ends with the assignment."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from processor.shell.leases import Leases

ONE = ("topic", 0)
OTHER = ("topic", 1)


def test_a_lease_is_open_until_its_partition_goes() -> None:
    """An assigned partition has an open lease, and none once it is closed."""
    leases = Leases()
    lease = leases.open(*ONE)
    assert leases.current(*ONE) is lease
    assert leases.close([ONE, OTHER], 0)
    assert leases.current(*ONE) is None
    assert not lease.is_open


def test_closed_is_for_ever() -> None:
    """A partition that comes back gets a new lease, and the one before stays closed."""
    leases = Leases()
    before = leases.open(*ONE)
    leases.close([ONE], 0)
    after = leases.open(*ONE)
    assert after is not before
    assert (before.is_open, after.is_open) == (False, True)


def test_opening_again_closes_what_was_open() -> None:
    """A partition has one open lease at most."""
    leases = Leases()
    before = leases.open(*ONE)
    assert leases.open(*ONE) is leases.current(*ONE)
    assert not before.is_open


def test_only_open_leases_can_be_held() -> None:
    """A transaction that wants a closed lease among others gets none, and nobody has to wait for it."""
    leases = Leases()
    gone, here = leases.open(*ONE), leases.open(*OTHER)
    leases.close([ONE], 0)
    with leases.hold({gone, here}) as is_open:
        assert not is_open
        assert leases.close([OTHER], 0)


def test_closing_waits_for_the_transaction_that_holds() -> None:
    """A partition does not go while its transaction runs; one that nobody holds goes at once."""
    leases = Leases()
    held = leases.open(*ONE)
    leases.open(*OTHER)
    with ThreadPoolExecutor(1) as other_thread:
        with leases.hold({held}) as is_open:
            assert is_open
            assert leases.close([OTHER], 0)
            closing = other_thread.submit(leases.close, [ONE], 10)
            _wait_until_closed(leases)
            assert not closing.done()
        assert closing.result(10)


def test_closing_gives_up_waiting_in_time() -> None:
    """A transaction that does not end keeps nobody for ever, but its lease is closed all the same."""
    leases = Leases()
    held = leases.open(*ONE)
    with leases.hold({held}):
        assert not leases.close([ONE], 0.01)
        assert not held.is_open


def test_a_transaction_that_fails_holds_nothing() -> None:
    """An exception inside lets go of the leases."""
    leases = Leases()
    held = leases.open(*ONE)
    with pytest.raises(RuntimeError), leases.hold({held}):
        raise RuntimeError
    assert leases.close([ONE], 0)


def _wait_until_closed(leases: Leases) -> None:
    deadline = threading.Event()
    for _ in range(1000):
        if leases.current(*ONE) is None:
            return
        deadline.wait(0.005)
    raise AssertionError("the lease was not closed in time")


def test_nobody_looks_while_a_transaction_outlives_its_lease() -> None:
    """Who takes a partition over waits for a transaction of its own past, and only for one of that partition."""
    leases = Leases()
    old = leases.open(*ONE)
    assert leases.wait_until_free([ONE], 0)
    with leases.hold({old}):
        assert leases.wait_until_free([ONE], 0), "its lease is open: it is work like any other"
        leases.open(*ONE)
        assert not leases.wait_until_free([ONE], 0)
        assert leases.wait_until_free([OTHER], 0)
    assert leases.wait_until_free([ONE], 0)
