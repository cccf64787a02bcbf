"""Every error of a transaction, classed in one table: what to do about it, and why. The first row that fits decides.

Nothing is done here. The one idea is the order: what the brokers forbid, then what is fatal, then what calls for an
abort, then what may be tried again; all else is as good as fatal (librdkafka's own advice). A fatal error may also call
itself retriable, and retrying it never ends (pitfall P16); a right that is missing may call itself fatal, and a new
producer would lack it just as much.
"""

from enum import Enum, StrEnum
from typing import NamedTuple

from confluent_kafka import KafkaError


class Remedy(Enum):
    """What a failed step of a transaction calls for."""

    REFUSED = "the brokers forbid it: stop, and say so"
    REBUILD = "this producer is finished: build a new one, restore the tasks"
    ABORT = "abort, take fresh group metadata, send the open parts again"
    RETRY = "call the same step again with the same arguments"


class Rebuilt(StrEnum):
    """Why a transactional producer was built anew: the values of a metric's label, so the set is closed.

    `LOST` and `FENCED` are losses: the outcome of a transaction is unknown, and tasks are restored. The others are
    precautions: the outcome is known, but a request of that transaction may still be under way.
    """

    SLOW_END = "slow_end"
    RETRIABLE_ERROR = "retriable_error"
    FAILED_END = "failed_end"
    STUCK_OFFSETS = "stuck_offsets"
    COORDINATOR_CONNECTION = "coordinator_connection"
    BROKER_CONNECTION = "broker_connection"
    FENCED = "fenced"
    LOST = "lost"


class Flag(Enum):
    """What an error says of itself."""

    FATAL = "fatal"
    ABORT = "requires abort"
    RETRIABLE = "retriable"
    NONE = "nothing"


class Row(NamedTuple):
    """One row: errors with this code, or with this flag whatever their code, and what to do about them."""

    what: int | Flag
    remedy: Remedy
    reason: str


_STALE = "our place in the group is not what it was: normal in a rebalance"
_TAKEN = "somebody else took our transactional id, or the coordinator gave our transaction up"

TABLE: tuple[Row, ...] = (
    Row(KafkaError.TOPIC_AUTHORIZATION_FAILED, Remedy.REFUSED, "the right WRITE is missing on a topic"),
    Row(KafkaError.GROUP_AUTHORIZATION_FAILED, Remedy.REFUSED, "the right READ is missing on the consumer group"),
    Row(
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        Remedy.REFUSED,
        "the rights WRITE and DESCRIBE are missing on the transactional id",
    ),
    Row(KafkaError.CLUSTER_AUTHORIZATION_FAILED, Remedy.REFUSED, "the right IDEMPOTENT_WRITE is missing"),
    Row(KafkaError.SASL_AUTHENTICATION_FAILED, Remedy.REFUSED, "user or password are not taken"),
    Row(KafkaError._AUTHENTICATION, Remedy.REFUSED, "user, password or certificate are not taken"),
    Row(KafkaError.UNSUPPORTED_VERSION, Remedy.REFUSED, "the brokers are too old"),
    Row(KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT, Remedy.REFUSED, "a topic keeps records in a form that is too old"),
    Row(KafkaError._UNSUPPORTED_FEATURE, Remedy.REFUSED, "the brokers are too old"),
    Row(
        KafkaError.INVALID_TRANSACTION_TIMEOUT,
        Remedy.REFUSED,
        "AXLE_PROCESSOR_KAFKA__TRANSACTION_TIMEOUT_SECONDS is more than the brokers allow",
    ),
    Row(Flag.FATAL, Remedy.REBUILD, "librdkafka has given this producer up"),
    Row(KafkaError._FENCED, Remedy.REBUILD, _TAKEN),
    Row(KafkaError.PRODUCER_FENCED, Remedy.REBUILD, _TAKEN),
    Row(KafkaError.INVALID_PRODUCER_EPOCH, Remedy.REBUILD, _TAKEN),
    Row(KafkaError.INVALID_TXN_STATE, Remedy.REBUILD, "the coordinator has another idea of our transaction"),
    Row(KafkaError.INVALID_PRODUCER_ID_MAPPING, Remedy.REBUILD, "the coordinator has forgotten our transactional id"),
    Row(KafkaError.ILLEGAL_GENERATION, Remedy.ABORT, _STALE),
    Row(KafkaError.UNKNOWN_MEMBER_ID, Remedy.ABORT, _STALE),
    Row(KafkaError.REBALANCE_IN_PROGRESS, Remedy.ABORT, _STALE),
    Row(KafkaError.STALE_MEMBER_EPOCH, Remedy.ABORT, _STALE),
    Row(KafkaError.FENCED_MEMBER_EPOCH, Remedy.ABORT, _STALE),
    Row(KafkaError.FENCED_INSTANCE_ID, Remedy.ABORT, _STALE),
    Row(KafkaError.TRANSACTION_ABORTABLE, Remedy.ABORT, "the broker asks for an abort"),
    Row(Flag.ABORT, Remedy.ABORT, "librdkafka asks for an abort"),
    Row(Flag.RETRIABLE, Remedy.RETRY, "it may work the next time"),
    Row(Flag.NONE, Remedy.REBUILD, "nobody knows this error, so it is as good as fatal"),
)

_FENCED_CODES = {KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH}
_GROUP_REFUSED_CODES = {
    KafkaError.INVALID_SESSION_TIMEOUT,
    KafkaError.INCONSISTENT_GROUP_PROTOCOL,
    KafkaError.GROUP_MAX_SIZE_REACHED,
}
_REFUSED_CODES = {row.what for row in TABLE if row.remedy is Remedy.REFUSED}


def is_refusal(error: KafkaError) -> bool:
    """Whether a consumer's error says that the brokers will never let us go on as we are."""
    return error.code() in _REFUSED_CODES | _GROUP_REFUSED_CODES


def is_fenced(error: KafkaError) -> bool:
    """Whether the error says that our transactional id has a newer owner than this producer."""
    return error.code() in _FENCED_CODES


def row_of(error: KafkaError) -> Row:
    """The row of the table that decides about `error` of a transactional call."""
    flags = {Flag.NONE}
    if error.fatal():
        flags.add(Flag.FATAL)
    if error.txn_requires_abort():
        flags.add(Flag.ABORT)
    if error.retriable():
        flags.add(Flag.RETRIABLE)
    return next(row for row in TABLE if row.what in flags or row.what == error.code())


def classify(error: KafkaError) -> Remedy:
    """What to do about `error` of a transactional call."""
    return row_of(error).remedy


def in_words(error: KafkaError) -> str:
    """The table's reason, what librdkafka says (which names the topic or broker where it knows), and the code."""
    return f"{row_of(error).reason}: {error.str()} ({error.name()})"
