"""A schema registry as the verbs meet it: what it has of a subject, what it takes, and what is said when that fails.

Which schema belongs where, and what breaks, is `cli/schemas.py`'s business. The one idea: a registry that says "no such
subject" says it in a registry's own words. Any other 404 is somebody else who answers, and is never taken for one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

from processor.settings import PREFIX, Settings, SettingsWrong
from processor.wire.compatibility import Rule

VERSIONS_MAX = 1000
ANSWER_SECONDS = 4.0
"""For one request; nothing is asked twice, so that a registry that is down is told of within 5 s."""
_NO_SUBJECT, _NO_LEVEL = 40401, 40408
_VARIABLE = f"{PREFIX}SCHEMA_REGISTRY__"

AnswerT = TypeVar("AnswerT")


class RegistryFailed(Exception):
    """The registry cannot be reached, or did not do its part. One sentence for the operator."""


class RegistryRefused(Exception):
    """The registry answered that it will not take a schema. Its own words."""


@dataclass(frozen=True, slots=True)
class Registered:
    """A schema that a subject has."""

    version: int
    schema_id: int
    text: str


class Registry:
    """The registry at `url`, with the account and the certificate of the settings. Close it in the end.

    What asks raises RegistryFailed, and SettingsWrong where it lets nobody in.
    """

    def __init__(self, url: str, settings: Settings) -> None:
        """Raises SettingsWrong."""
        try:
            from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, SchemaRegistryError
        except ImportError as missing:
            raise SettingsWrong(
                f"talking to a schema registry needs more packages ({missing}): pip install 'axle-processor[registry]'"
            ) from missing
        self._schema, self._error = Schema, SchemaRegistryError
        self.where = _where(url)
        given = settings.schema_registry
        more: dict[str, Any] = {"ssl.ca.location": str(given.ca_file)} if given.ca_file else {}
        if given.username:
            more["basic.auth.user.info"] = f"{given.username}:{given.password.get_secret_value()}"
        try:
            self._client = SchemaRegistryClient({"url": url, "timeout": ANSWER_SECONDS, "max.retries": 0, **more})
        except (ValueError, OSError) as wrong:  # ssl.SSLError is an OSError
            raise SettingsWrong(f"{_VARIABLE}*: {wrong}") from wrong

    def close(self) -> None:
        """Let go of its connection."""
        self._client.close()

    def versions(self, subject: str) -> list[Registered]:
        """What the subject has, the oldest first; nothing where there is no such subject."""
        numbers = self._asked(lambda: self._client.get_versions(subject), [], _NO_SUBJECT)
        if len(numbers) > VERSIONS_MAX:
            raise RegistryFailed(f"{self.where} has {len(numbers)} versions of {subject}, more than {VERSIONS_MAX}")
        return [self._version(subject, number) for number in sorted(numbers)]

    def accepts(self, subject: str, text: str) -> bool:
        """Whether the registry's own rule for a subject that is there would let a schema in."""
        schema = self._schema(text, "AVRO")
        return bool(self._asked(lambda: self._client.test_compatibility_all_versions(subject, schema)))

    def level(self, subject: str) -> str | None:
        """The rule that was set for this subject alone."""
        level = self._asked(lambda: self._client.get_compatibility(subject), None, _NO_SUBJECT, _NO_LEVEL)
        return None if level in (None, "NONE") else str(level)

    def register(self, subject: str, text: str) -> int:
        """Give the subject a schema, as text for text; returns the schema's id. Raises RegistryRefused."""
        schema = self._schema(text, "AVRO")
        return int(self._asked(lambda: self._client.register_schema(subject, schema)))

    def set_level(self, subject: str, rule: Rule) -> None:
        """Have the registry itself hold a subject to a rule."""
        self._asked(lambda: self._client.set_compatibility(subject, rule.value))

    def _version(self, subject: str, number: int) -> Registered:
        found = self._asked(lambda: self._client.get_version(subject, number))
        return Registered(number, found.schema_id or 0, found.schema.schema_str or "")

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
            return SettingsWrong(
                f"{_VARIABLE}USERNAME, {_VARIABLE}PASSWORD: {self.where} does not let us in ({status})"
            )
        if status in (409, 422):
            return RegistryRefused(words)
        hint = "; is that the address of its API, path and all?" if status == 404 else ""
        return RegistryFailed(f"{self.where} answered {status}: {words}{hint}")


def _where(url: str) -> str:
    """The address without an account that may stand in it. Raises SettingsWrong."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        raise SettingsWrong("the schema registry's URL is none; give http://HOST:PORT, or https") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise SettingsWrong("the schema registry's URL must begin with http:// or https:// and name a host")
    return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"
