"""Every metric in one table: name, help, labels. Dashboards and alerts are written against these names.

Nothing is measured here; others count through the attributes of `Metrics`, and what can be looked up is looked up when
somebody reads (`before_reading`), not before. Label sets are closed: never a site, a charger, an event id or a URL.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.metrics import MetricWrapperBase

from processor.core.outputs import AlarmKind, Result, Status
from processor.shell.kafka_errors import Rebuilt
from processor.wire.inputs import RejectCode

PREFIX = "axle_processor"
FAST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
SLOW_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600)
PAUSE_BUCKETS = (300, 600, 900, 1200, 1800, 2700, 3600)


class Tally:
    """Observations of a histogram without labels, counted at a tenth of its price and told before a reading."""

    def __init__(self, histogram: Histogram, buckets: tuple[float, ...]) -> None:
        self._histogram = histogram
        self._bounds = buckets
        self._counts = [0] * (len(buckets) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def hand_over(self) -> None:
        """Tell the histogram; the library has no other way to tell it more than one value at once."""
        for place, count in enumerate(self._counts):
            if count:
                self._histogram._buckets[place].inc(count)  # noqa: SLF001 - as said above
                self._counts[place] = 0
        self._histogram._sum.inc(self._sum)  # noqa: SLF001 - as said above
        self._sum = 0.0


class Metrics:
    """The metrics of one process, on a registry of their own so that several can live in one test."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.collectors: list[MetricWrapperBase] = []
        """All of them, in the order of this table, for the documentation."""
        self._looks: list[Callable[[], None]] = []
        self.build_info = self._gauge("build_info", "Version of this process; always 1.", "version", "librdkafka")
        self.events_consumed = self._counter("events_consumed_total", "Input records read.", "topic")
        self.outcomes = self._counter("outcomes_total", "Input records settled, by their one outcome.", "outcome")
        self.schedules_published = self._counter(
            "schedules_published_total", "Modified-schedule records published.", "status"
        )
        self.alarms = self._counter("alarms_total", "Things that a person should look at.", "kind")
        self.dead_letters = self._counter("dead_letters_total", "Input records that were dead-lettered.", "reason")
        self.rerouted = self._counter("rerouted_records_total", "Input records that took a hop to their task.")
        self.publish_seconds = self._histogram(
            "publish_seconds",
            "From a record's append at the broker to the commit of its first answer (LogAppendTime topics).",
            FAST_BUCKETS,
            "topic",
        )
        self.round_records = self._histogram(
            "round_records", "Input records in one round.", (1, 2, 5, 10, 20, 50, 100, 200, 500)
        )
        self.transactions = self._counter("transactions_total", "Kafka transactions, by how they ended.", "outcome")
        self.transaction_seconds = self._histogram(
            "transaction_seconds", "Time a committed transaction took.", FAST_BUCKETS
        )
        self.producer_rebuilds = self._counter(
            "producer_rebuilds_total",
            "Transactional producers built anew; all but fenced and lost are precautions that cost no event.",
            "reason",
        )
        self.rebalances = self._counter("rebalances_total", "Partitions given and taken.", "kind")
        self.tasks = self._gauge("tasks", "Tasks of this process, by what they are doing.", "state")
        self.sites = self._gauge("sites", "Sites in this process's state.")
        self.restore_seconds = self._histogram("state_restore_seconds", "Time to take a task over.", SLOW_BUCKETS)
        self.restore_records_left = self._gauge(
            "state_restore_records_left", "Changelog records still to read before all of our tasks work."
        )
        self.checkpoint_mismatches = self._counter(
            "checkpoint_mismatches_total", "Take-overs where the group's offsets differed from the checkpoint."
        )
        self.input_gaps = self._counter(
            "input_gaps_total", "Take-overs of an input whose next records were deleted before they were read."
        )
        self.held_partitions = self._gauge(
            "held_partitions",
            "Partitions that stand still until the schema registry tells what their next record was written with.",
        )
        self.registry_questions = self._counter(
            "schema_registry_questions_total", "Questions to the schema registry while running.", "outcome"
        )
        self._add_inputs()
        self._add_fleet()
        self._add_axle()
        self.reconcile_drift = self._gauge(
            "reconcile_drift",
            "Chargers that Axle's list and our own tasks differ about, by how, at the newest comparison "
            "(`AXLE__RECONCILE_HOURS`). Those unknown here are only told by a process that has all tasks.",
            "kind",
        )
        self.reconciled = self._gauge("reconciled_timestamp_seconds", "When that comparison was.")
        self.last_progress = self._gauge("last_progress_timestamp_seconds", "When a transaction was last committed.")
        self._begin_at_zero()

    def _begin_at_zero(self) -> None:
        """Show what alerts count from the start: Prometheus sees no increase where a series begins with 1."""
        zeros: tuple[tuple[Counter, Iterable[str]], ...] = (
            (self.alarms, AlarmKind),
            (self.dead_letters, RejectCode),
            (self.outcomes, Result),
            (self.schedules_published, Status),
            (self.transactions, ("committed", "aborted", "lost")),
            (self.producer_rebuilds, Rebuilt),
            (self.rebalances, ("assigned", "gone")),
            (self.refused_sign_ins, ("sign_in", "token")),
        )
        for counter, labels in zeros:
            for label in labels:
                counter.labels(str(label))

    def _add_inputs(self) -> None:
        """How far the inputs are read."""
        self.lag_records = self._gauge(
            "consumer_lag_records",
            "Offsets between what is settled and the last that can be read; absent where it is not known. One may "
            "stay: the end of a transaction takes an offset.",
            "topic",
            "partition",
        )
        self.standing_seconds = self._gauge(
            "partition_standing_seconds",
            "For how long a partition of ours has not moved although there is more to read; 0 while it moves.",
            "topic",
            "partition",
        )
        self.inbox_records = self._gauge("inbox_records", "Input records that were read and wait for a round.")

    def _add_fleet(self) -> None:
        """What households and drivers get."""
        self.withdrawn_sites = self._gauge("withdrawn_sites", "Sites of ours whose household has withdrawn.")
        self.paused_sites = self._gauge("paused_sites", "Sites of ours with a pause that is in force or still to come.")
        self.pause_seconds = self._tally("pause_seconds", "Lengths of the pauses that were published.", PAUSE_BUCKETS)
        self.answer_seconds = self._tally(
            "answer_seconds",
            "From a driver's action, by the time in its event, to the commit of the schedule with Axle's answer.",
            SLOW_BUCKETS,
        )
        self.withdrawal_seconds = self._histogram(
            "withdrawal_seconds",
            "From the moment that a removal or an offboarding was owed to Axle's word that it is done.",
            SLOW_BUCKETS,
        )

    def _add_axle(self) -> None:
        """What calls to Axle are measured by."""
        self.calls_owed = self._gauge(
            "axle_calls_owed",
            "Calls that the state owes to Axle, by what they are for; `search` looks for what a household that left "
            "may still have there.",
            "call",
        )
        self.oldest_owed_seconds = self._gauge(
            "axle_oldest_owed_seconds", "For how long the oldest call of a kind has been owed; 0: none is.", "call"
        )
        self.retries = self._counter("axle_retries_total", "Calls to Axle that were made again after a failure.")
        self.calls = self._counter("axle_requests_total", "HTTP requests to Axle.", "endpoint", "status")
        self.call_seconds = self._histogram(
            "axle_request_seconds", "Time of one HTTP request to Axle.", FAST_BUCKETS, "endpoint"
        )
        self.calls_in_flight = self._gauge("axle_calls_in_flight", "Calls to Axle that are under way.")
        self.calls_waiting = self._gauge("axle_calls_waiting", "Calls to Axle that wait for a slot or a retry.")
        self.calls_limit = self._gauge("axle_calls_limit", "Calls to Axle that may be under way at once just now.")
        self.breaker = self._gauge(
            "axle_breaker",
            "The circuit breaker before Axle: 1 for what it is just now, closed, open or probing.",
            "state",
        )
        self.refused_sign_ins = self._counter(
            "axle_sign_ins_refused_total", "Sign-ins that Axle refused, and fresh tokens that it rejected.", "kind"
        )
        self.token_expiry = self._gauge("axle_token_expiry_timestamp_seconds", "When Axle's token is too old to use.")
        self.clock_ahead = self._gauge(
            "axle_clock_ahead_seconds", "How far Axle's clock is ahead of ours for sure; below 0: behind."
        )

    def before_reading(self, look: Callable[[], None]) -> None:
        """Have `look` called whenever somebody is about to read, to set gauges."""
        self._looks.append(look)

    def exposition(self) -> bytes:
        """The Prometheus text format."""
        for look in self._looks:
            look()
        return generate_latest(self.registry)

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        made = Counter(f"{PREFIX}_{name}", help_text, labels, registry=self.registry)
        self.collectors.append(made)
        return made

    def _gauge(self, name: str, help_text: str, *labels: str) -> Gauge:
        made = Gauge(f"{PREFIX}_{name}", help_text, labels, registry=self.registry)
        self.collectors.append(made)
        return made

    def _histogram(self, name: str, help_text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        made = Histogram(f"{PREFIX}_{name}", help_text, labels, buckets=buckets, registry=self.registry)
        self.collectors.append(made)
        return made

    def _tally(self, name: str, help_text: str, buckets: tuple[float, ...]) -> Tally:
        made = Tally(self._histogram(name, help_text, buckets), buckets)
        self.before_reading(made.hand_over)
        return made


def label_names(collector: MetricWrapperBase) -> tuple[str, ...]:
    """The labels of a metric, for the documentation and for tests; the library itself tells them nowhere."""
    return tuple(collector._labelnames)  # noqa: SLF001 - as said above
