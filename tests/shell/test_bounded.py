"""A call that does not come back is left behind."""

import threading

import pytest

from processor.shell.bounded import Bounded

SECONDS = 10.0


def test_what_is_called_has_run_when_it_comes_back() -> None:
    """Calls run one after the other, on one thread that is not ours."""
    bounded, ran = Bounded("calls"), []
    for _ in range(3):
        bounded.run(lambda: ran.append(threading.current_thread()), SECONDS)
    (thread,) = set(ran)
    assert (thread.name, thread.daemon) == ("calls", True)
    bounded.close()
    thread.join(SECONDS)
    assert not thread.is_alive()


def test_what_a_call_raises_is_raised() -> None:
    """The error belongs to who asked for the call, and the thread lives on."""
    bounded = Bounded("calls")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            bounded.run(lambda: 1 // 0, SECONDS)
    bounded.close()


def test_what_does_not_end_is_left_behind() -> None:
    """Who waits goes on after the time, the next call has a thread of its own, and the old one ends when it can."""
    bounded, release, ran = Bounded("calls"), threading.Event(), list[threading.Thread]()

    def stuck() -> None:
        ran.append(threading.current_thread())
        release.wait(SECONDS)

    with pytest.raises(TimeoutError):
        bounded.run(stuck, 0.05)
    bounded.run(lambda: ran.append(threading.current_thread()), SECONDS)
    assert ran[0] is not ran[1]
    release.set()
    ran[0].join(SECONDS)
    assert not ran[0].is_alive()
    bounded.close()


def test_what_was_never_used_can_be_closed() -> None:
    """There is no thread before the first call, and closing twice is nothing."""
    bounded = Bounded("unused")
    bounded.close()
    bounded.close()
    assert "unused" not in {thread.name for thread in threading.enumerate()}
