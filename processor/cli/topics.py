"""`axle-processor topics plan|apply`: the topics as code, against the brokers of the settings."""

import sys
from collections.abc import Sequence

import orjson
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from processor.cli.wiring import connection, topic_names
from processor.settings import SettingsWrong, load
from processor.shell.contract import METADATA_SECONDS
from processor.shell.topics import DEFAULT_PARTITIONS, Change, TopicsFailed, apply, plan, tasks_there, wanted_topics


def topics_verb(*, apply_changes: bool, as_json: bool) -> int:
    """Show, or also carry out, what is missing. Returns the exit code."""
    try:
        settings = load()
    except SettingsWrong as wrong:
        print(f"configuration: {wrong}", file=sys.stderr)
        return 3
    where: dict[str, str | int | float | bool] = {
        "bootstrap.servers": settings.kafka.bootstrap_servers,
        **connection(settings),
        "log_level": 0,
    }
    try:
        admin = AdminClient(where)
    except KafkaException as wrong:
        print(f"configuration: AXLE_PROCESSOR_KAFKA__*: {wrong.args[0].str()}", file=sys.stderr)
        return 3
    try:
        names = topic_names(settings)
        partitions = tasks_there(admin, names, METADATA_SECONDS) or DEFAULT_PARTITIONS
        changes = plan(admin, wanted_topics(names, partitions), METADATA_SECONDS)
        if apply_changes:
            apply(admin, changes)
    except TopicsFailed as failure:
        print(f"kafka: {failure} Brokers: {settings.kafka.bootstrap_servers}.", file=sys.stderr)
        return 4
    if as_json:
        print(orjson.dumps([str(change) for change in changes]).decode())
    else:
        for change in changes:
            print(change)
        print(_summary(changes, apply_changes), file=sys.stderr)
    return 0


def _summary(changes: Sequence[Change], applied: bool) -> str:
    missing = sum(change.kind == "create" for change in changes)
    left = len(changes) - missing
    if not changes:
        return "all topics are as they should be"
    made = f"{missing} created" if applied else f"{missing} to create (axle-processor topics apply)"
    return f"{made}, {left} that differ and are left to you"
