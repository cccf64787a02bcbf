"""Writes `docs/reference.md` (settings, calls, metrics, topics) from the code. `--check` fails on drift.

Run it after changing `processor/settings.py`, `processor/shell/metrics.py` or a schema.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from processor.core.outputs import AlarmKind
from processor.settings import Settings, variables
from processor.shell.contract import needed_rights
from processor.shell.governor import Verdict
from processor.shell.metrics import Metrics, label_names
from processor.shell.summed import SUPERVISOR_METRICS, WORKER_LABEL
from processor.shell.topics import TopicNames, wanted_topics
from processor.wire.axle import MEANINGS, Meaning

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
Kafka, Axle or the schema registry cannot be reached or refuses."""
HEADERS = """\
Outputs carry CloudEvents headers (`ce_id`, `ce_type`, `ce_source`, `ce_subject`, `ce_time`, `ce_correlationid`)
and `content-type: application/avro`. Dead letters carry the original headers, `dlt-error-class`,
`dlt-error-reason`, `dlt-original-topic`, `-partition`, `-offset`, `-timestamp`, `dlt-group` and
`dlt-processor-version`; key and value are as they came. A replayed
record carries `dlt-replays` (how often), `dlt-kind` and `dlt-replay-of`; the mark of its letter is a record without a
value of the class `replayed`, on the letter's partition, whose original place is that of the letter."""
ORDERS = """\
`axle-processor erase SITE` orders a household to be forgotten. The order is a record on the reroute topic, in
partition murmur2(`site_id`) mod N, with the header `reroute-kind: ERASE` and a JSON value of at most 4 KiB:
`{"event_id": "erase.1", "occurred_at": 1763800020000, "site_id": "home-1"}` (UTC milliseconds; a time ahead of the
broker's counts as the broker's). Its outcome names that record, and its `event_id`. One that breaks a rule is
`INVALID` and goes to the dead letters, as any record does.

`axle-processor reconcile --apply`, and a processor with `AXLE__RECONCILE_HOURS`, order that a charger be looked for
which left and which Axle's list still has: `reroute-kind: STILL_LISTED`, and besides `charger_id` and `left_at`, the
time of the withdrawal or disconnection that the order goes by. It leads to a look-up alone; what that finds on the
household's own meter is removed or offboarded (outcome `OFFBOARDED`), else nothing is done (`NOTHING_TO_OFFBOARD`). Who
came back or left anew since is not meant (`STALE`), and while the charger is leaving it adds nothing (`DUPLICATE`).

Only the reroute topic carries orders: on an input topic the header means nothing. Inputs come from the platform,
orders from operators, so whoever may write to the reroute topic may have any household forgotten. Grant that to the
processor and to operators alone. `reconcile` needs to read the state, and to write to the reroute topic for `--apply`;
the reader of `erase` needs to read outcomes, enrolment statuses and state, and to describe the topics' settings."""
TOPICS = """\
`axle-processor topics apply` creates what is missing, like this, with three replicas where there are three
brokers (fewer brokers: as many replicas, and `min.insync.replicas=1`). Other counts: create the topics
yourself."""
RIGHTS = """\
What the processor's principal needs, with the default names, and nothing more: no right on the cluster, none to create
or to change. READ and WRITE each bring DESCRIBE along. With DESCRIBE_CONFIGS on the state topic, a start also checks
that it is compacted. Give nobody else WRITE on the state topic, or on these transactional ids.

The tools need less, and no right to the group, which they never join: `tail` READ on the modified schedules, `produce`
WRITE on the topic of its input, `explain` READ on modified schedules, enrolment statuses, outcomes, state and
dead letters (it goes on without), `dlt` READ on the dead letters. `dlt replay --apply` is an operator's: WRITE on
the reroute and the dead-letter topic, and on the transactional id `axle-processor.dlt-replay`."""
CALLS = """\
What an answer means, by call and status; where there is no word, the call is made again later. Nothing is given up
but what the table says."""
MEANS = {
    Meaning.DONE: ("done", "It worked. A body that tells nothing counts as no answer: later."),
    Meaning.NOT_THERE: (
        "not there",
        "Gone already, when it was to go; else an answer: the charger is unknown to Axle.",
    ),
    Meaning.EXISTS: ("exists", "The charger is looked up, and taken when it hangs on this household's meter."),
    Meaning.FORBIDDEN: ("forbidden", "`NOT_ENROLLED` until a newer consent; at the sign-in: a person has to look."),
    Meaning.INVALID: ("invalid", "Our fault: not repeated, alarm `our_request_invalid`."),
    Meaning.NOT_ELIGIBLE: ("not eligible", "With a sentence: the home is not. With a list of faults: invalid."),
    Meaning.REFUSED: ("refused", "Told as an alarm, and made again later: these calls must not be given up."),
}
LATER = (
    ("401", "At once with a new token, one sign-in for all who wait; if that is rejected too: later.", Verdict.OURS),
    ("429", "Later, not before `Retry-After`.", Verdict.BUSY),
    ("408, 425, 5xx", "Later, not before `Retry-After`.", Verdict.BAD),
    ("3xx", "Later. No redirect is followed.", Verdict.BAD),
    ("other 4xx", "Later.", Verdict.OURS),
    ("none in time, cut off, too large, encoded", "Later.", Verdict.BAD),
)
"""What has no word, who waits how, and what `shell/axle_client.py` tells the governor of it; tests hold it to that."""
VERDICTS = {
    Verdict.OURS: "nothing",
    Verdict.BUSY: "half as many calls at once",
    Verdict.BAD: "half as many calls at once; ten in a row open the breaker",
}
WAITS = """\
*Later* is a random time of up to 0.5 s, twice that after each further failure, 30 s at most; `Retry-After` (seconds or
a date, 300 s at most) is the least. Repeated calls are at most a tenth of the load while they fail. Refused sign-ins
are repeated after 10 s at the earliest."""
WORKERS = """\
`axle-processor run --workers N` runs N processes of `run` with the same settings. The first starts alone; the
others follow once Kafka let it in, so that a refusal is told once. Each has the instance id `KAFKA__INSTANCE_ID-n`
(by default the host's name, so give it a stable one), and with it the classic group protocol. A worker that ends by
itself is started again: at once the first time, after a rest of 0.5 to 10 s when it lived less than 10 s again and
again. Under its old name it has its old tasks. With `KAFKA__PROTOCOL=consumer` workers have no instance ids: one
that was killed is back at once, its tasks when the brokers notice its death. An end with exit code 2 or 3, and one
with 4 before Kafka let anybody in, ends all with that code. SIGTERM ends all; who is left after 13.5 s is killed,
and then the exit code is 1. Workers do not outlive the supervisor.

Limits count for each worker: `AXLE__CALLS_MAX`, `AXLE__CALLS_PER_SECOND`. `INPUTS__BREADCRUMB_FILE` gets `-n` for
each. The page of all is at `HTTP__PORT`; each worker's own is on a free port of 127.0.0.1, which `/status.json`
tells. The page asks its workers once a second. On its `/metrics` counters and histograms are summed, and keep what
ended workers counted (all but their last second); gauges have one more label, `worker`, from `0` on. `/livez` needs
all workers to turn, `/readyz` and `/startupz` all to be ready; one that is being started again is not ready, but
live."""
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
            "## Several workers",
            "",
            WORKERS,
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
            *_calls(),
            "",
            *_all_metrics(),
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


def _calls() -> list[str]:
    statuses = sorted({status for row in MEANINGS.values() for status in row})
    rows = [f"| call | {' | '.join(map(str, statuses))} |", f"| --- |{' --- |' * len(statuses)}"]
    for endpoint, row in MEANINGS.items():
        words = (MEANS[row[status]][0] if status in row else "" for status in statuses)
        rows.append(f"| `{endpoint}` | {' | '.join(words)} |")
    return [
        "## Calls to Axle",
        "",
        CALLS,
        "",
        *rows,
        "",
        "| word | what follows |",
        "| --- | --- |",
        *(f"| {word} | {follows} |" for word, follows in MEANS.values()),
        "",
        "| without a word | what follows | what it does to other calls |",
        "| --- | --- | --- |",
        *(f"| {said} | {follows} | {VERDICTS[verdict]} |" for said, follows, verdict in LATER),
        "",
        WAITS,
    ]


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


def _all_metrics() -> list[str]:
    head = ["| metric | type | labels | what it tells |", "| --- | --- | --- | --- |"]
    return [
        "## Metrics",
        "",
        "At `/metrics`, in Prometheus text format. No label ever names a site, a charger or an event.",
        "",
        *head,
        *_metrics(),
        "",
        "Only with `run --workers N`:",
        "",
        *head,
        *(f"| `{name}` | {kind} | `{WORKER_LABEL}` | {about} |" for name, kind, about in SUPERVISOR_METRICS),
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
