"""Which writers' schemas may be read: what the registry said of our subjects, and what it says when an id is new.

Here lives when the registry is asked again, and what its silence means. How a record names its schema is
`wire/registered.py`'s business, and what waits meanwhile is `gate.py`'s. The one idea: an id that nobody told us of is
a question, and only the registry's own answer makes a dead letter of it; while there is none, the question stays. It
is asked as "which versions has our subject?", for all ids that wait and at most once a second: a storm of foreign ids
costs a request a second for each subject, and no id of a record ever reaches the registry.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import structlog

from processor.shell.clock import Clock
from processor.shell.metrics import Metrics
from processor.shell.schema_registry import (
    Registered,
    Registry,
    RegistryAccount,
    RegistryFailed,
    RegistryWrong,
    registry_codec,
    subjects_of,
)
from processor.shell.topics import TopicNames
from processor.wire.avro import OUTPUT_RECORDS
from processor.wire.registered import Named, RegistryCodec

ASK_EVERY_SECONDS = 1.0
ANSWER_SECONDS = 30.0
"""For a whole question. A single request has less, but one that comes drop by drop has no end of its own."""
REST_SECONDS_MAX = 3.0
"""Between two questions while the registry does not answer."""
WANTED_MAX = 1_000
"""Ids of one question; further ones are taken up with the next."""
UNKNOWN_SECONDS = 300.0
"""How long an id that the registry did not have is not asked for again."""
UNKNOWN_MAX = 10_000
SAY_EVERY_SECONDS = 30.0
log = structlog.get_logger(__name__)


class Versions(Protocol):
    """What is asked of a registry while we run. Blocks; raises RegistryFailed and RegistryWrong."""

    def numbers(self, subject: str) -> list[int]:
        """The numbers of the subject's versions; none where there is no such subject."""

    def version(self, subject: str, number: int) -> Registered:
        """One of them."""

    def close(self) -> None:
        """Let go of its connection."""


class KnownSchemas:
    """The list of a running processor. `on_answer` is called when ids that waited are settled."""

    def __init__(
        self,
        registry: Versions,
        codec: RegistryCodec,
        clock: Clock,
        metrics: Metrics,
        ask_every_seconds: float = ASK_EVERY_SECONDS,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self.codec = codec
        self.trouble: str | None = None
        """Why the newest question has no answer."""
        self.on_answer: Callable[[], None] = lambda: None
        self._registry = registry
        self._clock = clock
        self._metrics = metrics
        self._ask_every_seconds = ask_every_seconds
        self._answer_seconds = answer_seconds
        self._seen: dict[str, set[int]] = defaultdict(set)
        """Numbers of versions that were learnt, by subject; the asking thread's own."""
        self._wanted: set[Named] = set()
        self._unknown: dict[Named, float] = {}
        """Ids that the registry did not have, and until when that is believed; the oldest first."""
        self._wake = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "schema-registry")
        self._is_closing = False
        self._said_at = -SAY_EVERY_SECONDS

    def is_settled(self, named: Named) -> bool:
        """Whether the registry's answer to an id is known, be it that it has no such version."""
        until = self._unknown.get(named)
        if until is not None and until < self._clock.monotonic():
            del self._unknown[named]
            until = None
        return until is not None or self.codec.knows(*named)

    def want(self, named: Named) -> None:
        """Ask for an id with the next question."""
        if len(self._wanted) < WANTED_MAX:
            self._wanted.add(named)
            self._wake.set()

    async def run(self) -> None:
        """Ask whenever something is wanted, until cancelled."""
        rest = self._ask_every_seconds
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._wanted:
                has_answered = await self._ask(frozenset(self._wanted))
                rest = self._ask_every_seconds if has_answered else min(rest * 2, REST_SECONDS_MAX)
                await asyncio.sleep(rest)

    def close(self) -> None:
        """Let go of the registry once a question that is under way has ended."""
        self._is_closing = True
        self._thread.submit(self._registry.close)
        self._thread.shutdown(wait=False)

    async def _ask(self, wanted: Collection[Named]) -> bool:
        subjects = {subject for subject, _ in wanted}
        try:
            async with asyncio.timeout(self._answer_seconds):
                found = await asyncio.get_running_loop().run_in_executor(self._thread, self._fetch, subjects)
        except TimeoutError:
            self._hear_failure(f"no whole answer within {self._answer_seconds:g} s")
            return False
        except (RegistryFailed, RegistryWrong) as failure:
            self._hear_failure(str(failure))
            return False
        self._metrics.registry_questions.labels("answered").inc()
        if self.trouble is not None:
            log.info("the schema registry answers again")
        self.trouble, self._said_at = None, -SAY_EVERY_SECONDS
        for subject, registered in found:
            self._learn(subject, registered)
        self._refuse([named for named in wanted if not self.codec.knows(*named)])
        self._wanted.difference_update(wanted)
        self.on_answer()
        return True

    def _fetch(self, subjects: Collection[str]) -> list[tuple[str, Registered]]:
        """On the asking thread: the versions of these subjects that are new to us."""
        found: list[tuple[str, Registered]] = []
        for subject in sorted(subjects):
            numbers = self._registry.numbers(subject)
            if not numbers and (self._seen[subject] or self.codec.has_any(subject)):
                raise RegistryFailed(f"it has lost {subject}, which had versions before: is that still our registry?")
            for number in numbers:
                if self._is_closing:
                    raise RegistryFailed("we are ending")
                if number not in self._seen[subject]:
                    found.append((subject, self._registry.version(subject, number)))
        for subject, registered in found:
            self._seen[subject].add(registered.version)
        return found

    def _learn(self, subject: str, registered: Registered) -> None:
        try:
            if not self.codec.knows(subject, registered.schema_id):
                self.codec.learn(subject, registered.schema_id, registered.text)
        except ValueError as wrong:
            log.warning("a schema cannot be used", subject=subject, version=registered.version, why=str(wrong))
        else:
            log.info("read a schema", subject=subject, version=registered.version, schema_id=registered.schema_id)

    def _refuse(self, foreign: Collection[Named]) -> None:
        until = self._clock.monotonic() + UNKNOWN_SECONDS
        for named in foreign:
            self._unknown.pop(named, None)
            self._unknown[named] = until
        while len(self._unknown) > UNKNOWN_MAX:
            del self._unknown[next(iter(self._unknown))]
        if foreign:
            subject, number = min(foreign)
            more = len(foreign) - 1
            log.warning("records name a schema that the registry lacks", subject=subject, schema_id=number, more=more)

    def _hear_failure(self, why: str) -> None:
        self._metrics.registry_questions.labels("failed").inc()
        self.trouble = why
        now = self._clock.monotonic()
        if now - self._said_at >= SAY_EVERY_SECONDS:
            self._said_at = now
            log.warning(
                "records wait, because the schema registry cannot be asked what they were written with", why=why
            )


def known_schemas(account: RegistryAccount, names: TopicNames, clock: Clock, metrics: Metrics) -> KnownSchemas:
    """The list as it is at the start. Takes some seconds at most; raises RegistryFailed and RegistryWrong."""
    registry = Registry(account)
    try:
        codec = registry_codec(registry, subjects_of(names), OUTPUT_RECORDS.values())
    except BaseException:
        registry.close()
        raise
    return KnownSchemas(registry, codec, clock, metrics)
