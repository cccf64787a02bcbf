"""Every metric in one table: name, help, labels. Dashboards and alerts are written against these names.

Nothing is measured here; others count through the attributes of `Metrics`. Label sets are closed: never a site, a
charger, an event id or a URL.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.metrics import MetricWrapperBase

PREFIX = "axle_processor"
FAST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
SLOW_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600)


class Metrics:
    """The metrics of one process, on a registry of their own so that several can live in one test."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.collectors: list[MetricWrapperBase] = []
        """All of them, in the order of this table, for the documentation."""
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
        self._add_axle()
        self.reconcile_drift = self._gauge(
            "reconcile_drift",
            "Chargers that Axle's list and our own tasks differ about, by how, at the newest comparison "
            "(`AXLE__RECONCILE_HOURS`). Those unknown here are only told by a process that has all tasks.",
            "kind",
        )
        self.reconciled = self._gauge("reconciled_timestamp_seconds", "When that comparison was.")
        self.last_progress = self._gauge("last_progress_timestamp_seconds", "When a transaction was last committed.")

    def _add_axle(self) -> None:
        """What calls to Axle are measured by."""
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

    def exposition(self) -> bytes:
        """The Prometheus text format."""
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


def label_names(collector: MetricWrapperBase) -> tuple[str, ...]:
    """The labels of a metric, for the documentation and for tests; the library itself tells them nowhere."""
    return tuple(collector._labelnames)  # noqa: SLF001 - as said above
