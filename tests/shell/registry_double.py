"""Stands where a registry's client stands: its versions in memory, and what was asked of it.

Only for questions of when and how often. What a real registry says, and what the real client makes of it, is tested
with one (`tests/kafka/test_registry_mode.py`, `tests/cli/test_schemas.py`).
"""

import threading
from collections import Counter

from processor.shell.schema_files import schema_texts
from processor.shell.schema_registry import Registered, RegistryFailed, subjects_of
from processor.shell.topics import TopicNames
from processor.wire.registered import RegistryCodec

SUBJECTS = subjects_of(TopicNames())
PLUGS = "ev.plug-in.v1-value"
OWN = {f"{name}-value": (number, text) for number, (name, text) in enumerate(schema_texts().items(), 1)}


def own_codec() -> RegistryCodec:
    """A codec that knows of each subject the one version that this release has."""
    return RegistryCodec(schema_texts(), SUBJECTS, {subject: [version] for subject, version in OWN.items()})


class Versions:
    """A registry: versions by subject, asked by one thread while a test changes it."""

    def __init__(self) -> None:
        self.have = {subject: {1: version} for subject, version in OWN.items()}
        self.asked: Counter[str] = Counter()
        self.fetched: list[tuple[str, int]] = []
        self.is_down = False
        self.is_closed = False
        self.may_answer = threading.Event()
        self.may_answer.set()

    def numbers(self, subject: str) -> list[int]:
        """Of its versions."""
        self.asked[subject] += 1
        assert self.may_answer.wait(30)
        if self.is_down:
            raise RegistryFailed("no answer from http://registry")
        return sorted(self.have.get(subject, {}))

    def version(self, subject: str, number: int) -> Registered:
        """One of them."""
        self.fetched.append((subject, number))
        return Registered(number, *self.have[subject][number])

    def add(self, subject: str, schema_id: int, text: str) -> None:
        """Somebody registers a schema."""
        versions = self.have.setdefault(subject, {})
        versions[max(versions, default=0) + 1] = (schema_id, text)

    def close(self) -> None:
        """Its connection is not needed any more."""
        self.is_closed = True
