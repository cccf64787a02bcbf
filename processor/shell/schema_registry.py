"""A schema registry as we meet it: what it has of a subject, what it takes, and what is said when that fails.

Which schema belongs where, and what breaks, is `cli/schemas.py`'s business; what may be read is `known_schemas.py`'s.
Every call here blocks for up to 4 s, so a processor makes them on a thread of their own. The one idea: a registry that
says "no such subject" says it in a registry's own words. Any other 404 is somebody else who answers, and is never taken
for one.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from processor.shell.schema_files import schema_texts
from processor.shell.topics import TopicNames
from processor.wire.avro import INPUT_RECORDS, OUTPUT_RECORDS
from processor.wire.compatibility import Rule
from processor.wire.registered import RegistryCodec, Version, nothing_more

VERSIONS_MAX = 1000
ANSWER_SECONDS = 4.0
"""For one request; nothing is asked twice, so that a registry that is down is told of within 5 s."""
_NO_SUBJECT, _NO_LEVEL = 40401, 40408
_VARIABLE = "AXLE_PROCESSOR_SCHEMA_REGISTRY__"

AnswerT = TypeVar("AnswerT")


class RegistryFailed(Exception):
    """The registry cannot be reached, or did not do its part. One sentence for the operator."""


class RegistryRefused(RegistryFailed):
    """The registry answered that it will not take a schema. Its own words."""


class RegistryWrong(Exception):
    """What we were told of the registry, or what it was told of us, cannot be right. One sentence for the operator."""


@dataclass(frozen=True, slots=True)
class RegistryAccount:
    """Where the registry is, and who we are there. `ca_file`: what its certificate is checked against (PEM)."""

    url: str
    username: str | None = None
    password: str = field(default="", repr=False)
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Registered:
    """A schema that a subject has."""

    version: int
    schema_id: int
    text: str


def subject_of(topic: str) -> str:
    """What a registry knows the values of a topic as: the strategy that others call TOPIC."""
    return f"{topic}-value"


def subjects_of(names: TopicNames) -> dict[str, str]:
    """The subject of each record, by the record's full name."""
    inputs = {name: subject_of(getattr(names, kind.value.lower())) for kind, name in INPUT_RECORDS.items()}
    topics = (names.modified_schedule, names.enrolment_status, names.outcomes)
    return {**inputs, **dict(zip(OUTPUT_RECORDS.values(), map(subject_of, topics), strict=True))}


def registry_codec(
    registry: "Registry",
    subjects: Mapping[str, str],
    writes: Collection[str],
    ask: Callable[[str, int], Iterable[Version]] = nothing_more,
) -> RegistryCodec:
    """A codec of what the registry has of these subjects, which are given by the full name of each record.

    `writes`: full names of records that will be written. Raises RegistryFailed; RegistryWrong where one of those is not
    registered.
    """
    known = {subject: registry.versions(subject) for subject in subjects.values()}
    listed = {subject: [(each.schema_id, each.text) for each in found] for subject, found in known.items()}
    try:
        codec = RegistryCodec(schema_texts(), subjects, listed, ask)
    except ValueError as wrong:
        raise RegistryWrong(f"{registry.where} cannot be used: {wrong}") from wrong
    missing = [subjects[name] for name in writes if not codec.is_registered(name)]
    if missing:
        raise RegistryWrong(
            f"{registry.where} does not have this release's schema of {', '.join(missing)}: look with `axle-processor "
            "schemas check` whom it would break, then register it with `axle-processor schemas register --apply`"
        )
    return codec


class Registry:
    """The registry of an account. Close it in the end.

    What asks raises RegistryFailed, and RegistryWrong where it lets nobody in.
    """

    def __init__(self, account: RegistryAccount) -> None:
        """Raises RegistryWrong."""
        try:
            # An optional package, and half a second's import.
            from confluent_kafka.schema_registry import (  # noqa: PLC0415
                Schema,
                SchemaRegistryClient,
                SchemaRegistryError,
            )
        except ImportError as missing:
            raise RegistryWrong(
                f"talking to a schema registry needs more packages ({missing}): pip install 'axle-processor[registry]'"
            ) from missing
        self._schema, self._error = Schema, SchemaRegistryError
        self.where = _where(account.url)
        more: dict[str, Any] = {"ssl.ca.location": str(account.ca_file)} if account.ca_file else {}
        if account.username:
            more["basic.auth.user.info"] = f"{account.username}:{account.password}"
        try:
            self._client = SchemaRegistryClient(
                {"url": account.url, "timeout": ANSWER_SECONDS, "max.retries": 0, **more}
            )
        except (ValueError, OSError) as wrong:  # ssl.SSLError is an OSError
            raise RegistryWrong(f"{_VARIABLE}*: {wrong}") from wrong

    def close(self) -> None:
        """Let go of its connection."""
        self._client.close()

    def numbers(self, subject: str) -> list[int]:
        """The numbers of the subject's versions, rising; none where there is no such subject."""
        numbers = self._asked(lambda: self._client.get_versions(subject), [], _NO_SUBJECT)
        if len(numbers) > VERSIONS_MAX:
            raise RegistryFailed(f"{self.where} has {len(numbers)} versions of {subject}, more than {VERSIONS_MAX}")
        return sorted(numbers)

    def version(self, subject: str, number: int) -> Registered:
        """One version of a subject."""
        found = self._asked(lambda: self._client.get_version(subject, number))
        return Registered(number, found.schema_id or 0, found.schema.schema_str or "")

    def versions(self, subject: str) -> list[Registered]:
        """What the subject has, the oldest first; nothing where there is no such subject."""
        return [self.version(subject, number) for number in self.numbers(subject)]

    def accepts(self, subject: str, text: str) -> bool:
        """Whether the registry's own rule for a subject that is there would let a schema in."""
        schema = self._schema(text, "AVRO")
        return bool(self._asked(lambda: self._client.test_compatibility_all_versions(subject, schema)))

    def level(self, subject: str) -> str | None:
        """The rule that was set for this subject alone."""
        level = self._asked(lambda: self._client.get_compatibility(subject), None, _NO_SUBJECT, _NO_LEVEL)
        return None if level in (None, "NONE") else str(level)

    def register(self, subject: str, text: str) -> int:
        """Give the subject a schema, as text for text; returns the schema's id. Raises RegistryRefused.

        Without the line's end: some registries look a text up as it is, and others' clients ask for it without.
        """
        schema = self._schema(text.strip(), "AVRO")
        return int(self._asked(lambda: self._client.register_schema(subject, schema)))

    def set_level(self, subject: str, rule: Rule) -> None:
        """Have the registry itself hold a subject to a rule."""
        self._asked(lambda: self._client.set_compatibility(subject, rule.value))

    def _asked(self, ask: Callable[[], AnswerT], otherwise: Any = None, *none_such: int) -> AnswerT:
        try:
            return ask()
        except self._error as error:
            if error.error_code in none_such:
                return otherwise  # type: ignore[no-any-return] # what the caller wants for "no such thing"
            raise self._told(error) from error
        # What its HTTP library raises is not among the client's promises.
        except Exception as error:
            raise RegistryFailed(f"no answer from {self.where}: {str(error) or type(error).__name__}") from error

    def _told(self, error: Any) -> Exception:
        status, words = error.http_status_code, error.error_message
        if status in (401, 403):
            return RegistryWrong(
                f"{_VARIABLE}USERNAME, {_VARIABLE}PASSWORD: {self.where} does not let us in ({status})"
            )
        if status in (409, 422):
            return RegistryRefused(words)
        hint = "; is that the address of its API, path and all?" if status == 404 else ""
        return RegistryFailed(f"{self.where} answered {status}: {words}{hint}")


def _where(url: str) -> str:
    """The address without an account that may stand in it. Raises RegistryWrong."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        raise RegistryWrong("the schema registry's URL is none; give http://HOST:PORT, or https") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise RegistryWrong("the schema registry's URL must begin with http:// or https:// and name a host")
    return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"
