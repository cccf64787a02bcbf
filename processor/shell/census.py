"""Which of our sites have withdrawn, and which have a pause ahead: counted without decoding a state.

A restore hands over what the headers of the changelog say, and each commit what changed. The one idea: only those are
kept that count, by their ids, so that a million quiet households cost nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from processor.core.site import Site, withdrawn
from processor.wire.state import StateMarks


@dataclass(slots=True)
class _Counted:
    withdrawn: set[str] = field(default_factory=set)
    paused_until_ms: dict[str, int] = field(default_factory=dict)


class Census:
    """Of all tasks that are ours. Used on the event loop only."""

    def __init__(self) -> None:
        self._tasks: dict[int, _Counted] = {}

    def take_over(self, task: int, marks: Mapping[str, StateMarks]) -> None:
        """A task is ours from now on; `marks` is what the changelog's headers say of its sites."""
        self._tasks[task] = _Counted(
            {site_id for site_id, mark in marks.items() if mark.withdrawn_since_ms is not None},
            {site_id: mark.paused_until_ms for site_id, mark in marks.items() if mark.paused_until_ms is not None},
        )

    def drop(self, task: int) -> None:
        """A task is not ours any more."""
        self._tasks.pop(task, None)

    def see(self, task: int, sites: Iterable[Site]) -> None:
        """This is how these sites of the task are now."""
        counted = self._tasks.get(task)
        if counted is None:
            counted = self._tasks[task] = _Counted()
        for site in sites:
            if site.withdrawal is not None and withdrawn(site):
                counted.withdrawn.add(site.site_id)
            else:
                counted.withdrawn.discard(site.site_id)
            until_ms = paused_until_ms(site)
            if until_ms is None:
                counted.paused_until_ms.pop(site.site_id, None)
            else:
                counted.paused_until_ms[site.site_id] = until_ms

    def forget(self, task: int, site_id: str) -> None:
        """Nothing is kept of this site any more."""
        counted = self._tasks.get(task)
        if counted:
            counted.withdrawn.discard(site_id)
            counted.paused_until_ms.pop(site_id, None)

    @property
    def withdrawn_sites(self) -> int:
        """How many households have withdrawn, erased ones aside."""
        return sum(len(counted.withdrawn) for counted in self._tasks.values())

    def paused_sites(self, now_ms: int) -> int:
        """How many have a pause that is in force or still to come; pauses that are over are forgotten."""
        for counted in self._tasks.values():
            paused = counted.paused_until_ms
            for site_id in [site_id for site_id, until_ms in paused.items() if until_ms <= now_ms]:
                del paused[site_id]
        return sum(len(counted.paused_until_ms) for counted in self._tasks.values())


def paused_until_ms(site: Site) -> int | None:
    """When the last pause of the site's chargers ends; None: there is none."""
    until_ms: int | None = None
    for charger in site.chargers:
        if charger.pauses:
            end_ms = charger.pauses[-1][1]
            until_ms = end_ms if until_ms is None else max(until_ms, end_ms)
    return until_ms
