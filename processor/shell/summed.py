"""The metrics of several workers as one exposition.

Here lives the rule of what becomes of each figure; who asks the workers for theirs is in `worker.py`. The one idea:
what counts up (counters, histograms) is summed, and what a worker counted before it ended stays in the sum, or each
restart would look to Prometheus like a reset of all of them. What stands (gauges) has no sum that is right for every
gauge, so each worker's comes with the label `worker`, and a query takes the sum, the least or the newest.
"""

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from processor.shell.metrics import PREFIX

WORKER_LABEL = "worker"
SUMMED_TYPES = frozenset({"counter", "histogram"})
WORKER_UP = (
    f"{PREFIX}_worker_up",
    "gauge",
    "1 while this worker is at work on all of its tasks; 0 while it is not, or does not answer.",
)
WORKER_RESTARTS = (
    f"{PREFIX}_worker_restarts_total",
    "counter",
    "How often this worker ended by itself and was started again.",
)
SUPERVISOR_METRICS = (WORKER_UP, WORKER_RESTARTS)
"""What only `run --workers` has: name, type and help, each with the label `worker`."""


class Sums:
    """The one exposition, and what is kept of workers that ended."""

    def __init__(self) -> None:
        self._ended: list[Metric] = []

    def retire(self, exposition: bytes) -> None:
        """A worker ended; this is the last that was heard of it. Its counts stay in the sums."""
        last = [family for family in _families(exposition) if family.type in SUMMED_TYPES]
        self._ended = _merged([("", self._ended), ("", last)])

    def exposition(self, workers: Mapping[str, bytes], up: Mapping[str, bool], restarts: Mapping[str, int]) -> bytes:
        """The Prometheus text format: `workers` holds the newest exposition of each that has told one, by its name."""
        told = [(name, _families(exposition)) for name, exposition in workers.items()]
        own = [_own(*WORKER_UP, up), _own(*WORKER_RESTARTS, restarts)]
        return generate_latest(_Made([*_merged([("", self._ended), *told]), *own]))


class _Made(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def _families(exposition: bytes) -> list[Metric]:
    return list(text_string_to_metric_families(exposition.decode()))


def _merged(told: Iterable[tuple[str, Iterable[Metric]]]) -> list[Metric]:
    """Each family once, in the order in which they come; workers of two releases may differ in what they have."""
    merged: dict[str, Metric] = {}
    sums: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for worker, families in told:
        for family in families:
            merged.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            values = sums.setdefault(family.name, {})
            for sample in family.samples:
                named = {} if family.type in SUMMED_TYPES else {WORKER_LABEL: worker}
                key = sample.name, tuple({**sample.labels, **named}.items())
                values[key] = values.get(key, 0.0) + sample.value
    for name, family in merged.items():
        for (sample_name, labels), value in sums[name].items():
            family.add_sample(sample_name, dict(labels), value)
    return list(merged.values())


def _own(name: str, kind: str, documentation: str, values: Mapping[str, float]) -> Metric:
    family = Metric(name.removesuffix("_total"), documentation, kind)
    for worker, value in values.items():
        family.add_sample(name, {WORKER_LABEL: worker}, float(value))
    return family
