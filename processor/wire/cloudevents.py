"""CloudEvents headers of what is published: binary mode, so that the value stays plain Avro.

Here lives the list of headers and nothing else. The one idea: an id is derived from what the record says, never drawn,
so a record that is sent again carries the same id. Source: CloudEvents 1.0, Kafka protocol binding.
"""

from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import quote
from zlib import crc32

from processor.core.outputs import EnrolmentStatus, ModifiedSchedule, Outcome

Header = tuple[str, bytes]

MODIFIED_SCHEDULE_TYPE = b"ev.modified-schedule.v1"
ENROLMENT_STATUS_TYPE = b"ev.enrolment-status.v1"
OUTCOME_TYPE = b"axle-processor.outcomes.v1"

_VERSION: Header = ("ce_specversion", b"1.0")
_CONTENT_TYPE: Header = ("content-type", b"application/avro")
_MODIFIED_SCHEDULE: Header = ("ce_type", MODIFIED_SCHEDULE_TYPE)
_ENROLMENT_STATUS: Header = ("ce_type", ENROLMENT_STATUS_TYPE)
_OUTCOME: Header = ("ce_type", OUTCOME_TYPE)


def headers(record: ModifiedSchedule | EnrolmentStatus | Outcome, source: str) -> list[Header]:
    """The headers of a record; `source` is the URI reference that names this installation, as `/axle-processor/live`.

    `ce_correlationid` is the id of the platform's event, where the record goes back to one.
    """
    if isinstance(record, ModifiedSchedule):
        event_id = f"{record.charger_id}.{record.revision}"
        made = _headers(_MODIFIED_SCHEDULE, event_id, source, record.decided_at_ms, record.charger_id)
        made.append(("ce_correlationid", record.caused_by.event_id.encode()))
        return made
    if isinstance(record, EnrolmentStatus):
        event_id = f"{record.site_id}.{record.changed_at_ms}.{_digest(record):08x}"
        return _headers(_ENROLMENT_STATUS, event_id, source, record.changed_at_ms, record.site_id)
    read = record.source
    event_id = f"{read.topic}-{read.partition}-{read.offset}"
    made = _headers(_OUTCOME, event_id, source, record.settled_at_ms, record.charger_id or record.site_id)
    if record.event_id:
        made.append(("ce_correlationid", record.event_id.encode()))
    return made


def _headers(kind: Header, event_id: str, source: str, at_ms: int, subject: str | None) -> list[Header]:
    made = [
        _VERSION,
        kind,
        ("ce_id", event_id.encode()),
        _source(source),
        _time(at_ms),
        _CONTENT_TYPE,
    ]
    if subject:
        made.append(("ce_subject", subject.encode()))
    return made


@lru_cache(maxsize=4)
def _source(source: str) -> Header:
    # The name of an installation may be any text; what no URI may have is escaped.
    return ("ce_source", quote(source, safe="/:").encode())


@lru_cache(maxsize=64)
def _time(at_ms: int) -> Header:
    # Records of one round share their time, and a date costs more to write than all other headers together.
    seconds, millis = divmod(at_ms, 1000)
    return ("ce_time", f"{datetime.fromtimestamp(seconds, UTC).isoformat()[:19]}.{millis:03d}Z".encode())


def _digest(record: EnrolmentStatus) -> int:
    """Tells apart two different words about one site in one millisecond: a reader may drop a repeated id."""
    chargers = [(charger.charger_id, charger.status.value, charger.axle_asset_id) for charger in record.chargers]
    return crc32(repr((record.consent.value, record.axle_site_id, chargers)).encode())
