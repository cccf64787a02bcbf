"""Every error of a transaction, classed in one table: what to do about it. First match wins.

Nothing is done here. The order matters: a fatal error may also call itself retriable, and retrying it never ends
(pitfall P16; research in librdkafka's own advice: fatal, then requires-abort, then retriable, all else is fatal).
"""

from enum import Enum

from confluent_kafka import KafkaError


class Remedy(Enum):
    """What a failed step of a transaction calls for."""

    REFUSED = "the brokers forbid it: stop, and say so"
    REBUILD = "this producer is finished: build a new one, restore the tasks"
    ABORT = "abort, take fresh group metadata, send the open parts again"
    RETRY = "call the same step again with the same arguments"


_REBUILD_CODES = {
    KafkaError._FENCED,
    KafkaError.PRODUCER_FENCED if hasattr(KafkaError, "PRODUCER_FENCED") else 90,
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.INVALID_TXN_STATE,
    KafkaError.INVALID_PRODUCER_ID_MAPPING,
}
_REFUSED_CODES = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    KafkaError.UNSUPPORTED_VERSION,
    KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT,
    KafkaError._UNSUPPORTED_FEATURE,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError._AUTHENTICATION,
}


_GROUP_REFUSED_CODES = {
    KafkaError.INVALID_SESSION_TIMEOUT,
    KafkaError.INCONSISTENT_GROUP_PROTOCOL,
    KafkaError.GROUP_MAX_SIZE_REACHED,
}


def is_refusal(error: KafkaError) -> bool:
    """Whether a consumer's error says that the brokers will never let us go on as we are."""
    return error.code() in _REFUSED_CODES | _GROUP_REFUSED_CODES


def classify(error: KafkaError) -> Remedy:
    """What to do about `error` of a transactional call."""
    if error.code() in _REFUSED_CODES:
        return Remedy.REFUSED
    if error.fatal() or error.code() in _REBUILD_CODES:
        return Remedy.REBUILD
    if error.txn_requires_abort():
        return Remedy.ABORT
    if error.retriable():
        return Remedy.RETRY
    return Remedy.REBUILD
