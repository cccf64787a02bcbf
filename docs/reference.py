"""Writes `docs/reference.md` (every setting, every metric, every topic) from the code. `--check` fails on drift.

Run it after changing `processor/settings.py`, `processor/shell/metrics.py` or a schema.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from processor.core.outputs import AlarmKind
from processor.settings import Settings, variables
from processor.shell.contract import needed_rights
from processor.shell.metrics import Metrics, label_names
from processor.shell.topics import TopicNames, wanted_topics

ALARMS = {
    AlarmKind.ANSWER_REJECTED: "Axle's answer broke a rule, which `detail` names; the driver's wish stays. Ask Axle.",
    AlarmKind.OUR_REQUEST_INVALID: "Axle called a request of ours invalid (400, 422). It is our bug: report it.",
    AlarmKind.CHARGER_CONFLICT: "Axle has the charger at another household. Find out who has it, and remove it there.",
    AlarmKind.CONSENT_MISSING_AT_AXLE: "Axle holds no consent for a site that gave us one (403). Ask the household.",
    AlarmKind.OFFBOARDING_REFUSED: "Axle refused a removal or an offboarding; it is tried again. Look at its answer.",
    AlarmKind.LOOK_UP_REFUSED: "Axle refuses to say what it knows of a charger; it is asked again. Look at its answer.",
    AlarmKind.UNOWNED_SITE_FOUND: "A look-up for a withdrawn site found another household's. Nothing was touched.",
    AlarmKind.EVENT_BUDGET_SPENT: (
        "One charger's events ask more than the settings `QUESTIONS__*` let it: its wishes go out as ever, its "
        "questions wait. Find out who sends them."
    ),
    AlarmKind.TOO_MANY_CHARGERS: (
        "A site has more chargers than `SITES__CHARGERS_MAX`; those beyond are never paused. Check the `site_id` of "
        "its events."
    ),
    AlarmKind.WITHDRAWAL_UNREADABLE: (
        "A withdrawal could not be read; `detail` says why, and unless it was empty it is among the dead letters. "
        "Somebody wants out: find out who, and send the withdrawal again."
    ),
}
EXIT_CODES = """\
0 all is well, 1 failure, 2 usage, 3 configuration (a setting, a topic, a right, a port, a state that cannot be used), 4
Kafka cannot be reached or refuses."""
HEADERS = """\
Outputs carry CloudEvents headers (`ce_id`, `ce_type`, `ce_source`, `ce_subject`, `ce_time`, `ce_correlationid`)
and `content-type: application/avro`. Dead letters carry the original headers, `dlt-error-class`,
`dlt-error-reason`, `dlt-original-topic`, `-partition`, `-offset`, `-timestamp`, `dlt-group` and
`dlt-processor-version`; key and value are as they came."""
ORDERS = """\
`axle-processor erase SITE` orders a household to be forgotten. The order is a record on the reroute topic, in
partition murmur2(`site_id`) mod N, with the header `reroute-kind: ERASE` and a JSON value of at most 4 KiB:
`{"event_id": "erase.1", "occurred_at": 1763800020000, "site_id": "home-1"}` (UTC milliseconds; a time ahead of the
broker's counts as the broker's). Its outcome names that record, and its `event_id`. One that breaks a rule is
`INVALID` and goes to the dead letters, as any record does.

Only the reroute topic carries orders: on an input topic the header means nothing. Inputs come from the platform,
orders from operators, so whoever may write to the reroute topic may have any household forgotten. Grant that to the
processor and to operators alone. The reader of `erase` needs to read outcomes, enrolment statuses and state, and to
describe the topics' settings."""
TOPICS = """\
`axle-processor topics apply` creates what is missing, like this, with three replicas where there are three
brokers (fewer brokers: as many replicas, and `min.insync.replicas=1`). Other counts: create the topics
yourself."""
RIGHTS = """\
What the processor's principal needs, with the default names, and nothing more: no right on the cluster, none to create
or to change. READ and WRITE each bring DESCRIBE along. With DESCRIBE_CONFIGS on the state topic, a start also checks
that it is compacted. Give nobody else WRITE on the state topic, or on these transactional ids."""
HERE = Path(__file__).parent
TARGET = HERE / "reference.md"


def reference() -> str:
    """The whole document."""
    return "\n".join(
        [
            "# Reference",
            "",
            "Written by `python docs/reference.py` from the code; a test fails when it is out of date.",
            "",
            "## Settings",
            "",
            "All of them are environment variables. A variable with our prefix that is not in this table is an error.",
            "",
            "| variable | default | what it is for |",
            "| --- | --- | --- |",
            *(f"| `{name}` | {_default(default)} | {about} |" for name, about, default in variables()),
            "",
            "## Exit codes",
            "",
            EXIT_CODES,
            "",
            "## Alarms",
            "",
            "Counted by `axle_processor_alarms_total` and logged as errors:",
            "",
            "| kind | what it means, and what to do |",
            "| --- | --- |",
            *(f"| `{kind.value}` | {ALARMS[kind]} |" for kind in AlarmKind),
            "",
            "## Headers",
            "",
            HEADERS,
            "",
            "## Orders",
            "",
            ORDERS,
            "",
            "## Metrics",
            "",
            "At `/metrics`, in Prometheus text format. No label ever names a site, a charger or an event.",
            "",
            "| metric | type | labels | what it tells |",
            "| --- | --- | --- | --- |",
            *_metrics(),
            "",
            "## Topics",
            "",
            TOPICS,
            "",
            "| topic | partitions | settings |",
            "| --- | --- | --- |",
            *_topics(),
            "",
            "## Rights",
            "",
            RIGHTS,
            "",
            "| resource | name | right |",
            "| --- | --- | --- |",
            *_rights(),
            "",
            "## Records",
            "",
            "What each field means is in the schemas themselves:",
            "",
            *_records(),
        ]
    )


def _default(default: object) -> str:
    return "none" if default in (None, "") or "*" in str(default) else f"`{default}`"


def _settings(config: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(config.items()))


def _topics() -> list[str]:
    wanted = wanted_topics(TopicNames())
    return [f"| `{spec.name}` | {spec.partitions} | {_settings(spec.config)} |" for spec in wanted]


def _rights() -> list[str]:
    rights = needed_rights(TopicNames(), Settings().kafka.group_id)
    return [
        f"| {right.kind}{', prefixed' if right.is_prefix else ''} | `{right.name}` | {right.operation} |"
        for right in rights
    ]


def _metrics() -> list[str]:
    rows = []
    for collector in Metrics().collectors:
        described = next(iter(collector.describe()))
        labels = ", ".join(f"`{label}`" for label in label_names(collector)) or "none"
        name = described.name + ("_total" if described.type == "counter" else "")
        rows.append(f"| `{name}` | {described.type} | {labels} | {described.documentation} |")
    return rows


def _records() -> list[str]:
    rows = []
    for path in sorted((HERE.parent / "schemas").glob("*.avsc")):
        schema = json.loads(path.read_text())
        rows.append(f"- [`{path.stem}`](../schemas/{path.name}): {schema['doc'].split('. ')[0].rstrip('.')}.")
    return [*rows, ""]


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(
            0 if TARGET.read_text() == reference() else "docs/reference.md is out of date: python docs/reference.py"
        )
    TARGET.write_text(reference())
