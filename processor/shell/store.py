"""Sites by task: encoded bytes, decoded when touched, hot ones cached; and who wants to be woken when.

Only committed states live here (a round works on its own overlay until then), so whatever is read from the store a
restart would find in the changelog too. It knows no Kafka: `take_over` is handed what a restore has read.

An erased household is no site any more: all that is left of it is its withdrawal, under a keyed hash of its id.
"""

import heapq
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from processor.core.rules import Rules
from processor.core.site import Site, due_at_ms
from processor.shell.census import Census
from processor.shell.records import RestoreFailed
from processor.wire.state import ERASED_PREFIX, decode_site, erased_key

CACHED_SITES_MAX = 20_000
STALE_WAKES_MAX = 1_000
"""Wakes that are not wanted any more are swept out of the heap when there are more than this, and than half."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """The encoded states of one task."""

    sites: dict[str, bytes]
    """By site id."""
    erased: dict[str, bytes]
    """What is left of erased sites, by the keys that it has in the changelog."""


class Store:
    """The states of all tasks that are ours."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._tasks: dict[int, _Kept] = {}
        self._cache: OrderedDict[str, Site] = OrderedDict()
        self._due: list[tuple[int, int, str]] = []
        self._due_of: dict[str, tuple[int, int, str]] = {}
        """By site, that of its wakes which counts; the heap also holds some that were moved or called off."""
        self.census = Census()
        self._woken: dict[int, set[str]] = {}
        """By task: sites that `take_due` told, until what came of it is committed."""

    def take_over(self, task: int, states: dict[str, bytes], due: Mapping[str, int]) -> None:
        """A task is ours from now on, with these states, by their keys in the changelog; they are ours to change.

        `due` tells which sites want to be woken, and when.
        """
        keys = [key for key in states if key.startswith(ERASED_PREFIX)]
        self._tasks[task] = _Kept(states, {key: states.pop(key) for key in keys})
        wakes = {site_id: (due_ms, task, site_id) for site_id, due_ms in due.items()}
        self._due_of |= wakes
        # All at once: after an outage of Axle's everybody may want to be woken.
        self._due += wakes.values()
        heapq.heapify(self._due)

    def drop(self, task: int) -> None:
        """A task is not ours any more."""
        kept = self._tasks.pop(task, None)
        self._woken.pop(task, None)
        self.census.drop(task)
        if kept is None:
            return
        # Not by its sites: there may be a million, and few of them are cached or due.
        for site_id in [site_id for site_id in self._cache if site_id in kept.sites]:
            del self._cache[site_id]
        self._due_of = {site_id: wake for site_id, wake in self._due_of.items() if wake[1] != task}

    def owns(self, task: int) -> bool:
        """Whether the task's states are here."""
        return task in self._tasks

    @property
    def tasks(self) -> list[int]:
        """Tasks whose states are here."""
        return sorted(self._tasks)

    def site_count(self, task: int) -> int:
        """How many sites the task knows; erased ones are not known any more."""
        kept = self._tasks.get(task)
        return len(kept.sites) if kept else 0

    def states(self, task: int) -> list[bytes]:
        """The committed states of all sites that the task knows, as they stand in the changelog now."""
        kept = self._tasks.get(task)
        return list(kept.sites.values()) if kept else []

    def written(self, task: int, site_id: str) -> bytes | None:
        """The committed state of a site as it stands in the changelog, or None."""
        kept = self._tasks.get(task)
        return kept.sites.get(site_id) if kept else None

    def get(self, task: int, site_id: str) -> Site:
        """The committed state of a site; a fresh one when it was never heard of. Raises RestoreFailed.

        Of an erased one it is the withdrawal alone, which no older consent comes up against.
        """
        cached = self._cache.get(site_id)
        if cached is not None:
            self._cache.move_to_end(site_id)
            return cached
        kept = self._tasks.get(task)
        if kept is None:
            return Site(site_id)
        encoded = kept.sites.get(site_id)
        if encoded is not None:
            site = _decoded(task, site_id, encoded)
            self._remember(site)
            return site
        left = kept.erased.get(erased_key(site_id, self._rules.secret)) if kept.erased else None
        return Site(site_id, withdrawal=_decoded(task, site_id, left).withdrawal) if left else Site(site_id)

    def merge(self, task: int, sites: Mapping[str, Site], changed: Mapping[str, bytes], now_ms: int) -> None:
        """Take in what a round has committed: `sites` that it looked at, and what `changed` in the changelog.

        That is bytes by key; empty ones say that the site has no state any more.
        """
        kept = self._tasks.get(task)
        if kept is None:
            return
        for key, encoded in changed.items():
            if not encoded:
                self._forget(kept, key)
                self.census.forget(task, key)
            elif key.startswith(ERASED_PREFIX):
                kept.erased[key] = encoded
            else:
                kept.sites[key] = encoded
        if task in self._woken:
            self._woken[task].difference_update(sites)
        self.census.see(task, [sites[key] for key in changed if key in sites and key in kept.sites])
        for site_id, site in sites.items():
            if site_id not in kept.sites:
                continue
            self._remember(site)
            due_ms = due_at_ms(site, now_ms, self._rules)
            if due_ms is None:
                self._due_of.pop(site_id, None)
            elif self._due_of.get(site_id) != (due_ms, task, site_id) and (site_id in changed or due_ms > now_ms):
                # A wake that changed nothing is set again, but never for a time that has come: it would not end.
                self._wake_at(task, site_id, due_ms)

    def take_due(self, now_ms: int, most: int) -> Iterator[tuple[int, str]]:
        """Up to `most` sites (task, site id) whose time has come; each is told once per time."""
        while most > 0 and self._due and self._due[0][0] <= now_ms:
            wake = heapq.heappop(self._due)
            _, task, site_id = wake
            if self._due_of.get(site_id) == wake and task in self._tasks:
                del self._due_of[site_id]
                self._woken.setdefault(task, set()).add(site_id)
                most -= 1
                yield task, site_id

    def wake_again(self, task: int, now_ms: int) -> None:
        """Tell those again of whose waking nothing came, because the round that they were woken for has not been."""
        for site_id in self._woken.pop(task, ()):
            self._wake_at(task, site_id, now_ms)

    def next_due_ms(self) -> int | None:
        """When somebody wants to be woken next, at the earliest."""
        return self._due[0][0] if self._due else None

    def _wake_at(self, task: int, site_id: str, due_ms: int) -> None:
        wake = self._due_of[site_id] = (due_ms, task, site_id)
        heapq.heappush(self._due, wake)
        if len(self._due) > 2 * len(self._due_of) + STALE_WAKES_MAX:
            self._due = list(self._due_of.values())
            heapq.heapify(self._due)

    def _forget(self, kept: _Kept, site_id: str) -> None:
        kept.sites.pop(site_id, None)
        self._cache.pop(site_id, None)
        self._due_of.pop(site_id, None)

    def _remember(self, site: Site) -> None:
        self._cache[site.site_id] = site
        self._cache.move_to_end(site.site_id)
        while len(self._cache) > CACHED_SITES_MAX:
            self._cache.popitem(last=False)


def _decoded(task: int, site_id: str, encoded: bytes) -> Site:
    try:
        return decode_site(encoded)
    except ValueError as bad:
        raise RestoreFailed(f"task {task}: the state of site {site_id} cannot be used: {bad}") from bad
