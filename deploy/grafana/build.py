"""Writes the Grafana dashboards in dashboards/ from the panels below. `--check` fails on drift.

Run it after changing a panel or a metric: `python deploy/grafana/build.py`. The idea: a panel is a sentence about one
question and the queries that answer it, so a page of them reads like a list of questions; where it stands on the screen
follows from the order. `datasource` and `job` are variables, so any Prometheus and any job name will do.
"""

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from grafana_foundation_sdk.builders import dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DataSourceRef, GridPos

TARGET = Path(__file__).resolve().parent / "dashboards"
PREFIX = "axle_processor_"
WIDTH, PANEL_WIDTH, STAT_WIDTH, PANEL_HEIGHT, STAT_HEIGHT = 24, 12, 4, 8, 4
RATE = "$__rate_interval"
JOB, WORKING, RESTORING, CLOSED = 'job=~"$job"', 'state="working"', 'state="restoring"', 'state="closed"'
LEAVING, FAILED = 'call=~"offboard|remove"', 'status=~"5xx|timeout|error"'
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")


@dataclass(frozen=True, slots=True)
class Query:
    """PromQL with `{}` where the job selector's labels go, or after further ones; and what a line is called."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One question."""

    title: str
    about: str
    queries: tuple[Query, ...]
    unit: str = "short"
    is_number: bool = False
    """The newest value instead of lines."""


@dataclass(frozen=True, slots=True)
class Page:
    """One dashboard."""

    uid: str
    title: str
    about: str
    panels: tuple[Panel, ...]


def metric(name: str, *labels: str) -> str:
    """A selector of one of our metrics in the job that is looked at."""
    matchers = ",".join((JOB, *labels))
    return f"{PREFIX}{name}{{{matchers}}}"


def rate(name: str, by: str, *labels: str) -> str:
    """How often a second, summed by a label."""
    return f"sum by ({by}) (rate({metric(name, *labels)}[{RATE}]))"


def quantile(share: float, name: str, by: str = "") -> str:
    """So many of all observations are below this."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({metric(f'{name}_bucket')}[{RATE}])))"


def number(title: str, about: str, expr: str, unit: str = "short") -> Panel:
    """A panel with one figure."""
    return Panel(title, about, (Query(expr),), unit, is_number=True)


def lines(title: str, about: str, unit: str, *queries: tuple[str, str]) -> Panel:
    """A panel with lines: query and legend of each."""
    return Panel(title, about, tuple(Query(*query) for query in queries), unit)


def failed_share() -> str:
    """The share of requests to Axle that failed."""
    failed, all_ = metric("axle_requests_total", FAILED), metric("axle_requests_total")
    return f"(sum(rate({failed}[{RATE}])) or vector(0)) / sum(rate({all_}[{RATE}]))"


def last_progress() -> str:
    """Seconds since a transaction was last committed anywhere."""
    return f"time() - max({metric('last_progress_timestamp_seconds')})"


FLEET = Page(
    "axle-processor-fleet",
    "Axle processor: fleet",
    "What drivers and households get. The first row is what to look at first.",
    (
        number("Homes", "Sites that are known.", f"sum({metric('sites')})"),
        number("Homes with a pause", "In force or still to come.", f"sum({metric('paused_sites')})"),
        number("Homes that withdrew", "Erased ones aside.", f"sum({metric('withdrawn_sites')})"),
        number("Since last commit", "Idle processors commit nothing.", last_progress(), "s"),
        number("Tasks at work", "All of them should be.", f"sum({metric('tasks', WORKING)})"),
        number(
            "Oldest withdrawal owed",
            "Until Axle confirms it; 15 minutes page somebody.",
            f"max({metric('axle_oldest_owed_seconds', LEAVING)})",
            "s",
        ),
        lines(
            "Events read",
            "By topic.",
            "eps",
            (rate("events_consumed_total", "topic"), "{{topic}}"),
        ),
        lines(
            "From event to the driver's own schedule",
            "From the append at the broker to the commit of the first answer.",
            "s",
            (quantile(0.5, "publish_seconds", "topic"), "p50 {{topic}}"),
            (quantile(0.99, "publish_seconds", "topic"), "p99 {{topic}}"),
        ),
        lines(
            "From a driver's action to Axle's answer",
            "By the time in the event, so a late event counts as slow.",
            "s",
            (quantile(0.5, "answer_seconds"), "p50"),
            (quantile(0.99, "answer_seconds"), "p99"),
        ),
        lines("Outcomes", "Each event has one.", "eps", (rate("outcomes_total", "outcome"), "{{outcome}}")),
        lines(
            "Schedules published",
            "REQUESTED is the driver's wish, before Axle is asked.",
            "eps",
            (rate("schedules_published_total", "status"), "{{status}}"),
        ),
        lines(
            "Lengths of pauses",
            "No pause is longer than an hour.",
            "s",
            (quantile(0.5, "pause_seconds"), "p50"),
            (quantile(0.95, "pause_seconds"), "p95"),
        ),
        lines(
            "Refused events", "Dead letters, by reason.", "eps", (rate("dead_letters_total", "reason"), "{{reason}}")
        ),
        lines(
            "Alarms",
            "What a person should look at, in the last hour.",
            "short",
            (f"sum by (kind) (increase({metric('alarms_total')}[1h]))", "{{kind}}"),
        ),
    ),
)
AXLE = Page(
    "axle-processor-axle",
    "Axle processor: Axle",
    "How Axle answers, and what it is still owed.",
    (
        number("Breaker closed", "1: calls go out.", f"min({metric('axle_breaker', CLOSED)})"),
        number("Calls under way", "Now.", f"sum({metric('axle_calls_in_flight')})"),
        number("May be under way", "The limit goes down with trouble.", f"sum({metric('axle_calls_limit')})"),
        number("Calls that wait", "For a slot or a retry.", f"sum({metric('axle_calls_waiting')})"),
        number(
            "Token is good for",
            "It is renewed before.",
            f"min({metric('axle_token_expiry_timestamp_seconds')} - time())",
            "s",
        ),
        number("Axle's clock ahead by", "Ten seconds are too much.", f"max({metric('axle_clock_ahead_seconds')})", "s"),
        lines(
            "Requests",
            "By call and class of answer.",
            "reqps",
            (rate("axle_requests_total", "endpoint, status"), "{{endpoint}} {{status}}"),
        ),
        lines(
            "Time of a request, p99",
            "By call.",
            "s",
            (quantile(0.99, "axle_request_seconds", "endpoint"), "{{endpoint}}"),
        ),
        lines(
            "Requests that failed",
            "5xx, no answer in time, broken connections, as a share of all.",
            "percentunit",
            (
                failed_share(),
                "failed",
            ),
        ),
        lines(
            "Calls made again",
            "At most a tenth of the load while they fail.",
            "reqps",
            (f"sum(rate({metric('axle_retries_total')}[{RATE}]))", "retries"),
        ),
        lines(
            "Calls owed", "By what they are for.", "short", (f"sum by (call) ({metric('axle_calls_owed')})", "{{call}}")
        ),
        lines(
            "Oldest call owed",
            "By what it is for. A search may take an hour.",
            "s",
            (f"max by (call) ({metric('axle_oldest_owed_seconds')})", "{{call}}"),
        ),
        lines(
            "Withdrawals and disconnections",
            "From the moment they were owed to Axle's word that it is done.",
            "s",
            (quantile(0.5, "withdrawal_seconds"), "p50"),
            (quantile(0.99, "withdrawal_seconds"), "p99"),
        ),
        lines(
            "Sign-ins refused",
            "In the last hour.",
            "short",
            (f"sum by (kind) (increase({metric('axle_sign_ins_refused_total')}[1h]))", "{{kind}}"),
        ),
    ),
)
EXACTLY_ONCE = Page(
    "axle-processor-exactly-once",
    "Axle processor: exactly once",
    "Partitions, transactions and take-overs: for who looks into the engine.",
    (
        number("Processors", "By version below.", f"count({metric('build_info')})"),
        number("Tasks being restored", "0 but for a moment.", f"sum({metric('tasks', RESTORING)})"),
        number(
            "Records left to restore", "Falls while a state is read.", f"sum({metric('state_restore_records_left')})"
        ),
        number("Records wait for a round", "Read, not settled.", f"sum({metric('inbox_records')})"),
        number(
            "Checkpoint mismatches",
            "Ever; each has a runbook.",
            f"sum({metric('checkpoint_mismatches_total')})",
        ),
        number("Gaps in inputs", "Ever; each has a runbook.", f"sum({metric('input_gaps_total')})"),
        lines(
            "Lag",
            "Offsets to the last that can be read.",
            "short",
            (f"sum by (topic) ({metric('consumer_lag_records')})", "{{topic}}"),
        ),
        lines(
            "Partitions that stand still",
            "For how long, although there is more to read.",
            "s",
            (f"max by (topic, partition) ({metric('partition_standing_seconds')})", "{{topic}} {{partition}}"),
        ),
        lines(
            "Transactions",
            "By how they ended.",
            "ops",
            (rate("transactions_total", "outcome"), "{{outcome}}"),
        ),
        lines(
            "Time of a transaction",
            "Of committed ones.",
            "s",
            (quantile(0.5, "transaction_seconds"), "p50"),
            (quantile(0.99, "transaction_seconds"), "p99"),
        ),
        lines(
            "Records in a round",
            "Rounds grow with the load, to 500.",
            "short",
            (quantile(0.5, "round_records"), "p50"),
            (quantile(0.99, "round_records"), "p99"),
        ),
        lines(
            "Records that took a hop",
            "To the task that has their site.",
            "eps",
            (f"sum(rate({metric('rerouted_records_total')}[{RATE}]))", "hops"),
        ),
        lines(
            "Rebalances",
            "In ten minutes.",
            "short",
            (f"sum by (kind) (increase({metric('rebalances_total')}[10m]))", "{{kind}}"),
        ),
        lines(
            "Producers built anew",
            "In the last hour. All but fenced and lost are precautions that cost no event.",
            "short",
            (f"sum by (reason) (increase({metric('producer_rebuilds_total')}[1h]))", "{{reason}}"),
        ),
        lines("Time of a take-over", "Of one task.", "s", (quantile(0.99, "state_restore_seconds"), "p99")),
        lines(
            "Versions", "Processes by version.", "short", (f"sum by (version) ({metric('build_info')})", "{{version}}")
        ),
    ),
)
PAGES = (FLEET, AXLE, EXACTLY_ONCE)


def built(page: Page) -> str:
    """The dashboard as JSON."""
    source = dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
    job = (
        dashboard.QueryVariable("job")
        .label("Job")
        .query(f"label_values({PREFIX}build_info, job)")
        .datasource(SOURCE)
        .include_all(include_all=True)
        .multi(multi=True)
        .all_value(".*")
    )
    made = (
        dashboard.Dashboard(page.title)
        .uid(page.uid)
        .description(page.about)
        .tags(["axle-processor"])
        .refresh("30s")
        .time("now-3h", "now")
        .timezone("browser")
        .with_variable(source)
        .with_variable(job)
    )
    for panel, place in placed(page.panels):
        made = made.with_panel(_panel(panel, place))
    return json.dumps(made.build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def placed(panels: Iterable[Panel]) -> list[tuple[Panel, GridPos]]:
    """Each panel and where it stands: from the left, in rows."""
    x = y = row_height = 0
    places = []
    for panel in panels:
        width, height = (STAT_WIDTH, STAT_HEIGHT) if panel.is_number else (PANEL_WIDTH, PANEL_HEIGHT)
        if x + width > WIDTH or height != (row_height or height):
            x, y, row_height = 0, y + row_height, 0
        places.append((panel, GridPos(h=height, w=width, x=x, y=y)))
        x, row_height = x + width, height
    return places


def _panel(panel: Panel, place: GridPos) -> stat.Panel | timeseries.Panel:
    made = stat.Panel() if panel.is_number else timeseries.Panel()
    made = made.title(panel.title).description(panel.about).unit(panel.unit).datasource(SOURCE).grid_pos(place)
    if isinstance(made, timeseries.Panel):
        made = made.min(0).fill_opacity(8).span_nulls(span_nulls=True)
    for number_, query in enumerate(panel.queries):
        target = prometheus.Dataquery().expr(query.expr).ref_id(chr(ord("A") + number_)).range()
        made = made.with_target(target.legend_format(query.legend) if query.legend else target)
    return made


def main() -> str | None:
    """Write them, or with `--check` tell which is out of date."""
    TARGET.mkdir(exist_ok=True)
    for page in PAGES:
        path, text = TARGET / f"{page.uid.removeprefix('axle-processor-')}.json", built(page)
        if "--check" not in sys.argv:
            path.write_text(text)
        elif not path.is_file() or path.read_text() != text:
            return f"{path.name} is out of date: python deploy/grafana/build.py"
    return None


if __name__ == "__main__":
    sys.exit(main())
