"""What each worker of `run --workers` is told that differs from its siblings."""

import socket

import pytest

from processor.cli.supervisor import worker_environ
from processor.settings import PREFIX, load

OWN_PAGE = {f"{PREFIX}HTTP__HOST": "127.0.0.1", f"{PREFIX}HTTP__PORT": "0"}


def test_workers_are_named_after_the_instance_or_the_host() -> None:
    """Each worker has an instance id of its own, the same at every start, and a page on a port of its own."""
    named = load({f"{PREFIX}KAFKA__INSTANCE_ID": "pod-3", f"{PREFIX}HTTP__HOST": "0.0.0.0"})  # noqa: S104 - not listened on
    assert worker_environ(named, 1) == {**OWN_PAGE, f"{PREFIX}KAFKA__INSTANCE_ID": "pod-3-1"}
    assert worker_environ(load({}), 0)[f"{PREFIX}KAFKA__INSTANCE_ID"] == f"{socket.gethostname()}-0"


@pytest.mark.parametrize("protocol", ["auto", "classic"])
def test_what_a_worker_is_told_are_settings(protocol: str) -> None:
    """A worker's environment is one that the settings take."""
    environ = {f"{PREFIX}KAFKA__PROTOCOL": protocol}
    settings = load({**environ, **worker_environ(load(environ), 0)})
    assert settings.kafka.protocol == protocol
    assert settings.kafka.instance_id is not None


def test_the_consumer_protocol_leaves_workers_without_instance_ids() -> None:
    """`kafka.protocol=consumer` allows no instance id, so workers have none under it, and start."""
    environ = {f"{PREFIX}KAFKA__PROTOCOL": "consumer"}
    told = worker_environ(load(environ), 0)
    assert told == OWN_PAGE
    assert load({**environ, **told}).kafka.instance_id is None


def test_each_worker_has_a_breadcrumb_of_its_own() -> None:
    """Where there is a breadcrumb file, no two workers write to the same one."""
    settings = load({f"{PREFIX}INPUTS__BREADCRUMB_FILE": "/data/crumb"})
    files = [worker_environ(settings, number)[f"{PREFIX}INPUTS__BREADCRUMB_FILE"] for number in range(2)]
    assert files == ["/data/crumb-0", "/data/crumb-1"]
