"""The metrics: their names and labels keep Prometheus' rules, and none can grow with the number of drivers."""

import re
from itertools import product

import pytest
from prometheus_client.parser import text_string_to_metric_families

from processor.core.outputs import AlarmKind, Result, Status
from processor.shell.governor import BreakerState
from processor.shell.metrics import PREFIX, Metrics, label_names
from processor.shell.owing import CallKind
from processor.wire.axle import Endpoint
from processor.wire.inputs import RejectCode

LABELS = {
    "call",
    "endpoint",
    "kind",
    "librdkafka",
    "outcome",
    "partition",
    "reason",
    "state",
    "status",
    "topic",
    "version",
}
"""The closed set. Each has a few values that the code names; a site, a charger or an event would have millions."""
TYPES_AND_UNITS = re.compile(
    "counter|gauge|histogram|summary|[mun]s|millis|milliseconds|minutes?|hours?|days?|percent|[km]b|(kilo|mega)bytes"
)
"""What `promtool check metrics` wants no name to say: its type, and units that are not the base ones."""


def declared() -> dict[str, tuple[str, str]]:
    """Name -> (type, help) as `/metrics` declares them before anything was counted."""
    text = Metrics().exposition().decode()
    helps = dict(re.findall(r"^# HELP (\S+) (.*)$", text, re.MULTILINE))
    types = dict(re.findall(r"^# TYPE (\S+) (.*)$", text, re.MULTILINE))
    assert helps.keys() == types.keys()
    return {name: (types[name], helps[name]) for name in types}


METRICS = declared()


def test_all_metrics_are_declared() -> None:
    """Each metric of the table is in the exposition from the start, with its type and its help."""
    assert len(METRICS) == len(Metrics().collectors) > 20


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_keeps_the_rules(name: str) -> None:
    """Our prefix, snake case, a help that is a sentence, base units, and `_total` on counters and only there."""
    kind, about = METRICS[name]
    assert re.fullmatch(rf"{PREFIX}(_[a-z]+)+", name)
    assert about.endswith(".")
    assert about[0].isupper()
    words = name.split("_")
    assert not [word for word in words if TYPES_AND_UNITS.fullmatch(word)]
    assert (words[-1] == "total") == (kind == "counter")
    assert words[-1] not in {"count", "sum", "bucket", "created"}
    assert kind != "gauge" or "timestamp" not in words or name.endswith("_timestamp_seconds")


def test_labels_are_a_closed_set() -> None:
    """No label names a site, a charger, an event or anything else that the world can make more of."""
    used = {label for collector in Metrics().collectors for label in label_names(collector)}
    assert used == LABELS


def test_what_is_counted_is_exposed_without_creation_times() -> None:
    """A count shows under its name and labels, the format parses, and no `_created` series doubles the number."""
    metrics = Metrics()
    metrics.outcomes.labels("MODIFIED").inc(3)
    metrics.publish_seconds.labels('a "quoted"\ntopic').observe(0.004)
    text = metrics.exposition().decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    counted = {s.labels["outcome"]: s.value for s in samples if s.name == f"{PREFIX}_outcomes_total"}
    assert {outcome: value for outcome, value in counted.items() if value} == {"MODIFIED": 3.0}
    assert [s for s in samples if s.name.endswith("_created")] == []


def test_two_processes_in_one_interpreter_count_apart() -> None:
    """Each `Metrics` has a registry of its own."""
    one, other = Metrics(), Metrics()
    one.rebalances.labels("given").inc()
    assert b'kind="given"' in one.exposition()
    assert b'kind="given"' not in other.exposition()


def test_there_are_at_most_2_000_series() -> None:
    """With 128 tasks, every label at every value that it can have, and every bucket."""
    metrics = Metrics()
    topics = [f"topic-{n}" for n in range(4)]
    values: dict[str, list[str]] = {
        "call": [*CallKind],
        "endpoint": [*Endpoint],
        "kind": [*AlarmKind],
        "outcome": [*Result],
        "partition": [str(n) for n in range(128)],
        "reason": [*RejectCode],
        "state": [*BreakerState],
        "status": [*Status],
        "topic": topics,
    }
    for collector in metrics.collectors:
        names = label_names(collector)
        for labels in product(*(values.get(name, ["one"]) for name in names)) if names else ():
            collector.labels(*map(str, labels))
    series = [line for line in metrics.exposition().decode().splitlines() if not line.startswith("#")]
    assert 1500 < len(series) <= 2000


def test_a_tally_tells_the_histogram_what_was_observed() -> None:
    """Each value is in the bucket that the library would have put it in, and is told once."""
    metrics, plain = Metrics(), Metrics()
    for value in (1, 300, 300.1, 3600, 5000):
        metrics.pause_seconds.observe(value)
        plain.pause_seconds._histogram.observe(value)  # noqa: SLF001 - to compare with
    for _ in range(2):
        assert metrics.exposition() == plain.exposition()


def test_who_looks_before_a_reading_is_asked_each_time() -> None:
    """What can be looked up costs nothing until somebody reads."""
    metrics = Metrics()
    metrics.before_reading(metrics.sites.inc)
    assert f"{PREFIX}_sites 1.0" in metrics.exposition().decode()
    assert f"{PREFIX}_sites 2.0" in metrics.exposition().decode()
