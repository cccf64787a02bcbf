"""The error table: what each kind of failure calls for."""

import pytest
from confluent_kafka import KafkaError

from processor.shell.kafka_errors import Remedy, classify, is_refusal


def error(code: int, *, fatal: bool = False, retriable: bool = False, abort: bool = False) -> KafkaError:
    return KafkaError(code, "a reason", fatal, retriable, abort)


@pytest.mark.parametrize(
    ("failure", "remedy"),
    [
        # fenced: somebody else has our id, or the coordinator gave us up
        (error(KafkaError._FENCED, fatal=True), Remedy.REBUILD),
        (error(KafkaError.PRODUCER_FENCED), Remedy.REBUILD),
        (error(KafkaError.INVALID_PRODUCER_EPOCH, abort=True), Remedy.REBUILD),
        (error(KafkaError.INVALID_TXN_STATE, retriable=True), Remedy.REBUILD),
        (error(KafkaError.INVALID_PRODUCER_ID_MAPPING), Remedy.REBUILD),
        # fatal wins over whatever else the error says of itself (pitfall P16)
        (error(KafkaError._TIMED_OUT, fatal=True, retriable=True, abort=True), Remedy.REBUILD),
        # a stale generation is normal: abort, refresh, send again (pitfall P6)
        (error(KafkaError.ILLEGAL_GENERATION, abort=True), Remedy.ABORT),
        (error(KafkaError.UNKNOWN_MEMBER_ID, abort=True), Remedy.ABORT),
        (error(KafkaError.REBALANCE_IN_PROGRESS, abort=True), Remedy.ABORT),
        (error(KafkaError.FENCED_INSTANCE_ID, abort=True), Remedy.ABORT),
        (error(KafkaError._TIMED_OUT, retriable=True, abort=True), Remedy.ABORT),
        # the same call again
        (error(KafkaError._TIMED_OUT, retriable=True), Remedy.RETRY),
        (error(KafkaError.COORDINATOR_LOAD_IN_PROGRESS, retriable=True), Remedy.RETRY),
        (error(KafkaError.NOT_COORDINATOR, retriable=True), Remedy.RETRY),
        # the brokers forbid it, however the error calls itself
        (error(KafkaError.TOPIC_AUTHORIZATION_FAILED, abort=True), Remedy.REFUSED),
        (error(KafkaError.GROUP_AUTHORIZATION_FAILED, abort=True), Remedy.REFUSED),
        (error(KafkaError.CLUSTER_AUTHORIZATION_FAILED, fatal=True), Remedy.REFUSED),
        (error(KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, fatal=True), Remedy.REFUSED),
        (error(KafkaError._UNSUPPORTED_FEATURE), Remedy.REFUSED),
        (error(KafkaError.UNSUPPORTED_VERSION, fatal=True), Remedy.REFUSED),
        (error(KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT), Remedy.REFUSED),
        (error(KafkaError.SASL_AUTHENTICATION_FAILED, retriable=True), Remedy.REFUSED),
        (error(KafkaError._AUTHENTICATION), Remedy.REFUSED),
        # what nobody knows is as good as fatal
        (error(KafkaError.UNKNOWN), Remedy.REBUILD),
        (error(KafkaError._STATE), Remedy.REBUILD),
    ],
    ids=lambda value: value.name() if isinstance(value, KafkaError) else None,
)
def test_each_error_has_its_remedy(failure: KafkaError, remedy: Remedy) -> None:
    """The first row that fits decides: forbidden, then fatal, then abort, then again."""
    assert classify(failure) is remedy


def test_a_consumer_gives_up_only_what_no_waiting_mends() -> None:
    """Rights and settings that brokers refuse end the consumer; trouble that passes does not."""
    for_good = (
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.INVALID_SESSION_TIMEOUT,
        KafkaError.INCONSISTENT_GROUP_PROTOCOL,
    )
    passing = (KafkaError._TIMED_OUT, KafkaError.NOT_COORDINATOR, KafkaError.UNKNOWN_TOPIC_OR_PART)
    assert all(is_refusal(error(code)) for code in for_good)
    assert not any(is_refusal(error(code)) for code in passing)
