"""Sites by task: what is kept, what is forgotten, and who is woken when."""

import pytest
from msgspec.structs import replace

from processor.core.rules import Rules
from processor.core.schedule import HOUR_MS
from processor.core.site import Charger, Enrolling, Site, Stamp
from processor.shell.outbox import Outbox
from processor.shell.records import RestoreFailed
from processor.shell.store import STALE_WAKES_MAX, Store
from processor.wire.state import encode_site, erased_key
from tests.shell.parts import CODEC, NAMES, NOW_MS

DAY_MS = 24 * HOUR_MS
OUTBOX = Outbox(NAMES, CODEC, Rules(), "/test")
LEFT = Stamp(NOW_MS - 5, "")
"""What is left of a household: when it withdrew."""
KEY = erased_key("s-1", Rules().secret)


def waiting(site_id: str, since_ms: int = NOW_MS) -> Site:
    """A site whose onboarding is given up a day after it began."""
    return Site(site_id, Stamp(since_ms, "e"), chargers=(Charger("c-1", enrolling=Enrolling(since_ms)),))


def merge(store: Store, task: int, *sites: Site) -> None:
    store.merge(task, {s.site_id: s for s in sites}, {s.site_id: encode_site(s) for s in sites}, NOW_MS)


def erase(store: Store, task: int, site_id: str) -> None:
    """Merge an erasure as a round does: what the changelog gets of it, by key."""
    site = Site(site_id, withdrawal=LEFT)
    states = OUTBOX.states(task, site, NOW_MS, store.written(task, site_id), owes=False)
    changed = {(state.key or b"").decode(): state.value or b"" for state in states}
    store.merge(task, {site_id: site}, changed, NOW_MS)


def test_a_site_that_was_never_heard_of_is_fresh() -> None:
    """Whoever is unknown has an empty state, and asking for it leaves no trace."""
    store = Store(Rules())
    store.take_over(0, {}, {})
    assert store.get(0, "s-1") == Site("s-1")
    assert store.site_count(0) == 0


def test_what_is_merged_is_what_a_restart_would_find() -> None:
    """A merged state is read back equal, and so is one that a restore brought as bytes."""
    store = Store(Rules())
    site = waiting("s-1")
    store.take_over(0, {"s-2": encode_site(waiting("s-2"))}, {})
    merge(store, 0, site)
    assert (store.get(0, "s-1"), store.get(0, "s-2")) == (site, waiting("s-2"))
    assert store.site_count(0) == 2


def test_the_states_of_a_task_are_those_of_its_sites() -> None:
    """As they were at that moment, and none of an erased household, whose mark is no site's state."""
    store = Store(Rules())
    store.take_over(0, {}, {})
    merge(store, 0, waiting("s-1"), waiting("s-2"))
    then = store.states(0)
    erase(store, 0, "s-1")
    assert then == [encode_site(waiting("s-1")), encode_site(waiting("s-2"))]
    assert (store.states(0), store.states(1)) == ([encode_site(waiting("s-2"))], [])


def test_a_task_that_is_not_ours_takes_nothing_in() -> None:
    """What a round committed for a task that went meanwhile is dropped."""
    store = Store(Rules())
    merge(store, 3, waiting("s-1"))
    assert not store.owns(3)
    assert store.get(3, "s-1") == Site("s-1")
    assert store.next_due_ms() is None


def test_a_dropped_task_is_forgotten_whole() -> None:
    """After a task went, neither its cached states nor its wakes are left; other tasks keep theirs."""
    store = Store(Rules())
    store.take_over(0, {}, {})
    store.take_over(1, {}, {})
    merge(store, 0, waiting("s-1"))
    merge(store, 1, waiting("s-2", NOW_MS + 1))
    store.drop(0)
    assert store.tasks == [1]
    assert list(store.take_due(NOW_MS + 2 * DAY_MS, 10)) == [(1, "s-2")]
    store.take_over(0, {}, {})
    assert store.get(0, "s-1") == Site("s-1")


def test_each_site_is_woken_once_per_time_and_in_order() -> None:
    """Due sites come earliest first, at most as many as asked for, and none of them twice."""
    store = Store(Rules())
    store.take_over(0, {}, {"s-3": NOW_MS + 3, "s-1": NOW_MS + 1, "s-2": NOW_MS + 2})
    assert store.next_due_ms() == NOW_MS + 1
    assert list(store.take_due(NOW_MS, 10)) == []
    assert list(store.take_due(NOW_MS + 3, 2)) == [(0, "s-1"), (0, "s-2")]
    assert list(store.take_due(NOW_MS + 3, 2)) == [(0, "s-3")]
    assert list(store.take_due(NOW_MS + 3, 2)) == []


def test_the_wakes_of_all_tasks_come_in_one_order() -> None:
    """Tasks are taken over one after the other with whatever wakes they have; a task taken anew has its new ones."""
    store = Store(Rules())
    store.take_over(0, {}, {f"s-{i}": NOW_MS + i for i in range(0, 200, 2)})
    store.take_over(1, {}, {f"s-{i}": NOW_MS + i for i in range(199, 0, -2)})
    store.drop(0)
    store.take_over(0, {}, {f"s-{i}": NOW_MS + i for i in range(0, 100, 2)})
    woken = [*range(100), *range(101, 200, 2)]
    assert list(store.take_due(NOW_MS + 1_000, 1_000)) == [(i % 2, f"s-{i}") for i in woken]


def test_a_new_state_moves_the_time() -> None:
    """A site is woken at the time that its newest state asks for, and not at all when it asks for none."""
    store = Store(Rules())
    store.take_over(0, {}, {})
    merge(store, 0, waiting("s-1"))
    merge(store, 0, waiting("s-1", NOW_MS + HOUR_MS))
    assert list(store.take_due(NOW_MS + DAY_MS, 10)) == []
    merge(store, 0, replace(waiting("s-1"), chargers=()))
    assert list(store.take_due(NOW_MS + 2 * DAY_MS, 10)) == []


def test_a_wake_that_came_too_early_is_set_again() -> None:
    """A site that was woken before its time (the rules changed between two runs) is woken again at its time."""
    store = Store(Rules())
    store.take_over(0, {"s-1": encode_site(waiting("s-1"))}, {"s-1": NOW_MS})
    assert list(store.take_due(NOW_MS, 10)) == [(0, "s-1")]
    store.merge(0, {"s-1": waiting("s-1")}, {}, NOW_MS)
    assert list(store.take_due(NOW_MS + DAY_MS, 10)) == [(0, "s-1")]
    store.merge(0, {"s-1": waiting("s-1")}, {}, NOW_MS + DAY_MS)
    assert list(store.take_due(NOW_MS + 2 * DAY_MS, 10)) == []


def test_wakes_that_nobody_wants_are_swept_out() -> None:
    """A site that changes its time ten thousand times costs no ten thousand entries, and still wakes on time."""
    store = Store(Rules())
    store.take_over(0, {}, {})
    for i in range(10 * STALE_WAKES_MAX):
        merge(store, 0, waiting("s-1", NOW_MS + i))
    last_ms = NOW_MS + 10 * STALE_WAKES_MAX - 1 + DAY_MS
    assert list(store.take_due(last_ms - 1, 10)) == []
    assert (store.next_due_ms() or 0) >= last_ms - 2 * STALE_WAKES_MAX
    assert list(store.take_due(last_ms, 10)) == [(0, "s-1")]


def test_a_state_that_cannot_be_decoded_is_a_sentence() -> None:
    """Damaged bytes refuse the work on that site with the task, the site and what is wrong."""
    store = Store(Rules())
    store.take_over(2, {"s-1": b"\x01damaged bytes"}, {})
    with pytest.raises(RestoreFailed, match=r"task 2: the state of site s-1 cannot be used: .*damaged"):
        store.get(2, "s-1")


def test_an_erased_site_is_forgotten_but_for_its_withdrawal() -> None:
    """Its state, its wake and its place in the count go; whoever asks hears that it withdrew, and nothing else."""
    store = Store(Rules())
    store.take_over(0, {}, {})
    merge(store, 0, waiting("s-1"), waiting("s-2"))
    erase(store, 0, "s-1")
    assert store.get(0, "s-1") == Site("s-1", withdrawal=LEFT)
    assert (store.written(0, "s-1"), store.site_count(0)) == (None, 1)
    assert list(store.take_due(NOW_MS + 2 * DAY_MS, 10)) == [(0, "s-2")]
    assert store.next_due_ms() is None


def test_looking_at_an_erased_site_leaves_no_trace() -> None:
    """A round that comes upon it and changes nothing does not make it a known site again."""
    store = Store(Rules())
    store.take_over(0, {}, {})
    erase(store, 0, "s-1")
    store.merge(0, {"s-1": store.get(0, "s-1")}, {}, NOW_MS)
    assert (store.written(0, "s-1"), store.site_count(0)) == (None, 0)
    store.drop(0)
    store.take_over(0, {}, {})
    assert store.get(0, "s-1") == Site("s-1")


def test_an_erased_site_is_known_by_its_hash_after_a_restart() -> None:
    """What a restore brings under the hash is the withdrawal of that one site; it is no site of its own."""
    store = Store(Rules())
    store.take_over(0, {KEY: encode_site(Site("f" * 32, withdrawal=LEFT)), "s-2": encode_site(waiting("s-2"))}, {})
    assert store.get(0, "s-1") == Site("s-1", withdrawal=LEFT)
    assert (store.get(0, "s-2"), store.get(0, "s-3")) == (waiting("s-2"), Site("s-3"))
    assert store.site_count(0) == 1
    store.drop(0)
    store.take_over(0, {}, {})
    assert store.get(0, "s-1") == Site("s-1")


def test_an_erased_site_may_begin_anew() -> None:
    """A state that it gets after its erasure stands under its own key, and counts; erased again, it goes again."""
    store = Store(Rules())
    store.take_over(0, {KEY: encode_site(Site("f" * 32, withdrawal=LEFT))}, {})
    anew = replace(waiting("s-1"), withdrawal=LEFT)
    merge(store, 0, anew)
    assert (store.get(0, "s-1"), store.written(0, "s-1"), store.site_count(0)) == (anew, encode_site(anew), 1)
    erase(store, 0, "s-1")
    assert (store.get(0, "s-1"), store.site_count(0)) == (Site("s-1", withdrawal=LEFT), 0)
    assert list(store.take_due(NOW_MS + 2 * DAY_MS, 10)) == []


def test_damaged_bytes_of_an_erased_site_are_a_sentence() -> None:
    """They are never taken for a site that nobody has heard of."""
    store = Store(Rules())
    store.take_over(2, {KEY: b"\x01damaged bytes"}, {})
    with pytest.raises(RestoreFailed, match=r"task 2: the state of site s-1 cannot be used: .*damaged"):
        store.get(2, "s-1")


def test_who_was_woken_for_a_round_that_never_was_is_woken_again() -> None:
    """A wake that nothing came of is told again on request, one that was settled is not."""
    store = Store(Rules())
    store.take_over(0, {"s-1": encode_site(waiting("s-1")), "s-2": encode_site(waiting("s-2"))}, {"s-1": 1, "s-2": 1})
    assert {site_id for _, site_id in store.take_due(2, 10)} == {"s-1", "s-2"}
    merge(store, 0, waiting("s-2"))
    store.wake_again(0, 3)
    assert list(store.take_due(3, 10)) == [(0, "s-1")]
    store.drop(0)
    store.wake_again(0, 4)
    assert list(store.take_due(DAY_MS, 10)) == []
