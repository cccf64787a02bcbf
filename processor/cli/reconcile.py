"""`axle-processor reconcile`: Axle's list of chargers held against our state, and an order for whoever left.

Here live the reading of both sides and what is said of them; what counts as a difference is `core/reconcile.py`'s. The
one idea: the state belongs to whoever has its task, so this verb only reads it, and what has to be done goes as an
order to that task, which looks for itself (`StillListed` in the table). Without `--apply` nothing is written at all.
"""

import asyncio
import secrets
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson
from confluent_kafka import Message
from msgspec import to_builtins

from processor.cli.cluster import Cluster, ends, exit_code, now_ms, reached, read_all, write_all
from processor.cli.wiring import account_of
from processor.core.reconcile import Drift, Kind, Listing, View, drifts, unknown, view
from processor.settings import Settings, load
from processor.shell.axle_client import AxleClient
from processor.shell.axle_transport import http_transport
from processor.shell.clock import SystemClock
from processor.shell.exits import EXIT_FAILURE, EXIT_UNREACHABLE
from processor.shell.governor import Governor
from processor.shell.listing import Aside, ListingFailed, Whole, whole_list
from processor.shell.metrics import Metrics
from processor.shell.reconciler import look_for
from processor.shell.records import Partition
from processor.wire.instants import iso_z
from processor.wire.state import CHECKPOINT_KEY, ERASED_PREFIX, BadState, decode_site

ORDERS_MAX = 10_000
SHOWN_MAX = 20
"""Differences of one kind that are shown one by one; JSON has them all."""
FOLLOWS = {
    Kind.LEFT: "looked up at Axle and offboarded again",
    Kind.NOT_ENROLLED: "nothing; settled by a newer consent",
    Kind.UNKNOWN: "nothing; see who onboarded it",
    Kind.MISSING: "nothing; looked up at its next question",
    Kind.OTHER_IDS: "nothing; looked up at its next question",
}


@dataclass(frozen=True, slots=True)
class _Report:
    """What was compared, and what differs."""

    at_axle: int
    here: int
    drifts: tuple[Drift, ...]
    is_steady: bool
    """Whether Axle's list stayed the same while it was read."""
    in_motion: int
    """Households that changed while the list was read, and are not judged."""

    @property
    def left(self) -> tuple[Drift, ...]:
        """Who has to be looked for."""
        return tuple(drift for drift in self.drifts if drift.kind is Kind.LEFT)


def reconcile_verb(*, apply: bool, as_json: bool, timeout_seconds: float) -> int:
    """Compare, say what differs, and order what follows where that is wanted. Returns the exit code."""

    def work() -> int:
        settings = load()
        deadline = time.monotonic() + timeout_seconds
        cluster = reached(settings, (settings.topics.state, settings.topics.reroute))
        try:
            report = _compared(settings, cluster, deadline)
        except (ListingFailed, TimeoutError) as failure:
            late = f"the list was not read in {timeout_seconds:g} s; give it more with --timeout-seconds"
            print(f"axle: {str(failure) or late}", file=sys.stderr)
            return EXIT_UNREACHABLE
        except BadState as unread:
            print(f"state: {unread}", file=sys.stderr)
            return EXIT_FAILURE
        ordered = _ordered(cluster, report.left[:ORDERS_MAX]) if apply else 0
        _print(report, ordered, apply=apply, as_json=as_json)
        return 0

    return exit_code(work, "stopped; orders that were written stand, and the processor goes on by itself")


def _compared(settings: Settings, cluster: Cluster, deadline: float) -> _Report:
    """Raises ListingFailed, TimeoutError, Failed, BadState."""
    before = ends(cluster, cluster.all_of(cluster.names.state), "nothing was compared")
    print("reading Axle's list of chargers", file=sys.stderr)
    whole = asyncio.run(_listed(settings, deadline))
    views, recent = _views(cluster, whole.listing, before, deadline)
    judged = [drift for drift in drifts(views) if drift.site_id not in recent]
    found = (*judged, *unknown(views, whole.listing))
    return _Report(
        at_axle=sum(map(len, whole.listing.values())),
        here=sum(view.chargers for view in views),
        drifts=tuple(sorted(found, key=lambda drift: (drift.kind, drift.charger_id))),
        is_steady=whole.is_steady,
        in_motion=len(recent),
    )


async def _listed(settings: Settings, deadline: float) -> Whole:
    account = account_of(settings)
    clock, chance = SystemClock(), secrets.SystemRandom()
    client = AxleClient(account, http_transport(account.ca_pem, account.proxy), clock, Metrics())
    aside = Aside(Governor(1, chance.uniform, settings.axle.calls_per_second), clock)
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            return await whole_list(client, aside, chance.uniform)
    finally:
        await client.aclose()


def _views(
    cluster: Cluster, listing: Listing, before: Mapping[Partition, int], deadline: float
) -> tuple[list[View], set[str]]:
    """What each task's households say of the list, task by task; and which of them changed since it stood `before`."""
    views: list[View] = []
    recent: set[str] = set()
    for partition in cluster.all_of(cluster.names.state):
        values, offsets = _states(cluster, partition, deadline)
        views.append(view(map(decode_site, values.values()), listing))
        recent.update(key.decode() for key, offset in offsets.items() if offset >= before[partition])
    return views, recent


def _states(cluster: Cluster, partition: Partition, deadline: float) -> tuple[dict[bytes, bytes], dict[bytes, int]]:
    """The states of a task's households, and where each stands, by their keys."""
    values: dict[bytes, bytes] = {}
    offsets: dict[bytes, int] = {}

    def take(message: Message) -> None:
        key, value = message.key() or b"", message.value()
        if key == CHECKPOINT_KEY or key.startswith(ERASED_PREFIX.encode()):
            return
        offsets[key] = message.offset() or 0
        if value:
            values[key] = value
        else:
            values.pop(key, None)

    read_all(cluster, [partition], take, deadline)
    return values, offsets


def _ordered(cluster: Cluster, left: Sequence[Drift]) -> int:
    """How many orders were written, each acknowledged by all in-sync replicas. Raises Failed."""
    topic, at_ms = cluster.names.reroute, now_ms()
    orders = [look_for(drift, topic, cluster.partitions[topic], at_ms) for drift in left]
    return len(write_all(cluster, orders, "order")) if orders else 0


def _print(report: _Report, ordered: int, *, apply: bool, as_json: bool) -> None:
    counts = Counter(drift.kind for drift in report.drifts)
    if as_json:
        told = {
            "chargers": {"axle": report.at_axle, "here": report.here},
            "counts": {kind.value: counts[kind] for kind in Kind},
            "in_motion": report.in_motion,
            "list_changed": not report.is_steady,
            "ordered": ordered,
            "drifts": [to_builtins(drift) for drift in report.drifts],
        }
        print(orjson.dumps(told).decode())
        return
    print(f"{report.at_axle:,} chargers at Axle, {report.here:,} known here; {len(report.drifts):,} differences")
    for kind in Kind:
        if counts[kind]:
            print(f"{kind.value}: {counts[kind]:,} ({FOLLOWS[kind]})")
            _print_some([drift for drift in report.drifts if drift.kind is kind])
    if report.in_motion:
        print(f"{report.in_motion:,} households changed while the list was read, and were not compared")
    if not report.is_steady:
        print("the list changed while it was read: who seems to be missing may be there; compare again")
    if apply:
        left = counts[Kind.LEFT] - ordered
        print(f"{ordered:,} ordered; a running processor looks for them" + (f"; {left:,} are left" if left else ""))
    elif counts[Kind.LEFT]:
        print("nothing was ordered; --apply has who left looked for")


def _print_some(drifts_of_a_kind: Sequence[Drift]) -> None:
    for drift in drifts_of_a_kind[:SHOWN_MAX]:
        site = f"site {drift.site_id}" if drift.site_id else "no site"
        there = f"at Axle {drift.axle_asset_id} of site {drift.axle_site_id}" if drift.axle_asset_id else "not at Axle"
        when = f", left {iso_z(drift.left_at_ms)}" if drift.left_at_ms is not None else ""
        print(f"  {drift.charger_id}: {site}{when}, {there}")
    if len(drifts_of_a_kind) > SHOWN_MAX:
        print(f"  and {len(drifts_of_a_kind) - SHOWN_MAX:,} more; --json has them all")
