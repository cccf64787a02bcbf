"""The metrics of several workers, as one exposition that Prometheus reads."""

from prometheus_client.parser import text_string_to_metric_families

from processor.shell.metrics import Metrics
from processor.shell.summed import WORKER_RESTARTS, WORKER_UP, Sums


def samples(exposition: bytes) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Each figure, by its name and labels; none comes twice."""
    found = {}
    for family in text_string_to_metric_families(exposition.decode()):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found
            found[key] = sample.value
    return found


def worked(alarms: int, sites: int, *seconds: float) -> bytes:
    """What a worker exposes that did so much."""
    metrics = Metrics()
    metrics.alarms.labels("conflict").inc(alarms)
    metrics.sites.set(sites)
    for each in seconds:
        metrics.publish_seconds.labels("plug-in").observe(each)
    return metrics.exposition()


def test_counters_and_histograms_are_summed_and_gauges_keep_their_worker() -> None:
    """Counts of two workers are one figure, and each gauge says whose it is."""
    shown = samples(
        Sums().exposition({"0": worked(2, 10, 0.003), "1": worked(3, 20, 0.003, 7)}, {"0": True, "1": False}, {"1": 4})
    )
    topic = ("topic", "plug-in")
    assert shown["axle_processor_alarms_total", frozenset({("kind", "conflict")})] == 5
    assert shown["axle_processor_publish_seconds_count", frozenset({topic})] == 3
    assert shown["axle_processor_publish_seconds_sum", frozenset({topic})] == 7.006
    assert shown["axle_processor_publish_seconds_bucket", frozenset({topic, ("le", "0.005")})] == 2
    assert shown["axle_processor_publish_seconds_bucket", frozenset({topic, ("le", "+Inf")})] == 3
    assert shown["axle_processor_sites", frozenset({("worker", "0")})] == 10
    assert shown["axle_processor_sites", frozenset({("worker", "1")})] == 20
    assert ("axle_processor_sites", frozenset()) not in shown
    assert shown[WORKER_UP[0], frozenset({("worker", "0")})] == 1
    assert shown[WORKER_UP[0], frozenset({("worker", "1")})] == 0
    assert shown[WORKER_RESTARTS[0], frozenset({("worker", "1")})] == 4


def test_each_family_is_introduced_once() -> None:
    """HELP and TYPE come once for each metric of the table and the two of the supervisor, however many workers tell."""
    text = Sums().exposition({str(n): worked(n, n) for n in range(3)}, {}, {}).decode()
    for word in ("# HELP", "# TYPE"):
        named = [line.split()[2] for line in text.splitlines() if line.startswith(word)]
        assert len(named) == len(set(named)) == len(Metrics().collectors) + 2


def test_an_ended_worker_stays_in_the_sums_but_not_among_the_gauges() -> None:
    """What was counted before a worker ended is never taken back, and what stood then stands no more."""
    sums = Sums()
    sums.retire(worked(2, 10, 0.003))
    sums.retire(worked(3, 10))
    shown = samples(sums.exposition({"0": worked(1, 5)}, {}, {}))
    assert shown["axle_processor_alarms_total", frozenset({("kind", "conflict")})] == 6
    assert shown["axle_processor_publish_seconds_count", frozenset({("topic", "plug-in")})] == 1
    assert [value for (name, _), value in shown.items() if name == "axle_processor_sites"] == [5]
