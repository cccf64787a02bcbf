"""The error table: what each kind of failure calls for."""

import pytest
from confluent_kafka import KafkaError

from processor.shell.kafka_errors import TABLE, Flag, Remedy, Row, classify, in_words, is_fenced, is_refusal, row_of

EXPECTED: tuple[tuple[int, Remedy], ...] = (
    # the brokers forbid it
    (KafkaError.TOPIC_AUTHORIZATION_FAILED, Remedy.REFUSED),
    (KafkaError.GROUP_AUTHORIZATION_FAILED, Remedy.REFUSED),
    (KafkaError.CLUSTER_AUTHORIZATION_FAILED, Remedy.REFUSED),
    (KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, Remedy.REFUSED),
    (KafkaError.SASL_AUTHENTICATION_FAILED, Remedy.REFUSED),
    (KafkaError._AUTHENTICATION, Remedy.REFUSED),
    (KafkaError.UNSUPPORTED_VERSION, Remedy.REFUSED),
    (KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT, Remedy.REFUSED),
    (KafkaError._UNSUPPORTED_FEATURE, Remedy.REFUSED),
    (KafkaError.INVALID_TRANSACTION_TIMEOUT, Remedy.REFUSED),
    # fenced: somebody else has our id, or the coordinator gave us up
    (KafkaError._FENCED, Remedy.REBUILD),
    (KafkaError.PRODUCER_FENCED, Remedy.REBUILD),
    (KafkaError.INVALID_PRODUCER_EPOCH, Remedy.REBUILD),
    (KafkaError.INVALID_TXN_STATE, Remedy.REBUILD),
    (KafkaError.INVALID_PRODUCER_ID_MAPPING, Remedy.REBUILD),
    # a stale generation is normal: abort, refresh, send again (pitfall P6)
    (KafkaError.ILLEGAL_GENERATION, Remedy.ABORT),
    (KafkaError.UNKNOWN_MEMBER_ID, Remedy.ABORT),
    (KafkaError.REBALANCE_IN_PROGRESS, Remedy.ABORT),
    (KafkaError.STALE_MEMBER_EPOCH, Remedy.ABORT),
    (KafkaError.FENCED_MEMBER_EPOCH, Remedy.ABORT),
    (KafkaError.FENCED_INSTANCE_ID, Remedy.ABORT),
    (KafkaError.TRANSACTION_ABORTABLE, Remedy.ABORT),
)
CODES = [(row, remedy) for code, remedy in EXPECTED for row in TABLE if row.what == code]


def error(code: int, *, fatal: bool = False, retriable: bool = False, abort: bool = False) -> KafkaError:
    return KafkaError(code, "a reason", fatal, retriable, abort)


def _named(value: object) -> str | None:
    if isinstance(value, Row) and isinstance(value.what, int):
        return KafkaError(value.what).name()
    return value.name() if isinstance(value, KafkaError) else None


@pytest.mark.parametrize(("row", "remedy"), CODES, ids=_named)
def test_a_code_has_its_remedy(row: Row, remedy: Remedy) -> None:
    """A code decides, whatever else the error says of itself but fatal, and there it decides what brokers forbid."""
    assert isinstance(row.what, int)
    plain = error(row.what)
    assert row_of(plain) is row
    assert classify(plain) is remedy
    assert classify(error(row.what, retriable=True, abort=True)) is remedy
    expected_when_fatal = Remedy.REFUSED if remedy is Remedy.REFUSED else Remedy.REBUILD
    assert classify(error(row.what, fatal=True, retriable=True)) is expected_when_fatal
    assert in_words(plain).startswith(f"{row.reason}: ")
    assert plain.name() in in_words(plain)


@pytest.mark.parametrize(
    ("failure", "flag", "remedy"),
    [
        # fatal wins over whatever else the error says of itself (pitfall P16)
        (error(KafkaError._TIMED_OUT, fatal=True, retriable=True, abort=True), Flag.FATAL, Remedy.REBUILD),
        (error(KafkaError._STATE, fatal=True, retriable=True), Flag.FATAL, Remedy.REBUILD),
        # then an abort, over another try
        (error(KafkaError._TIMED_OUT, retriable=True, abort=True), Flag.ABORT, Remedy.ABORT),
        (error(KafkaError.UNKNOWN_PRODUCER_ID, abort=True), Flag.ABORT, Remedy.ABORT),
        # the same call again
        (error(KafkaError._TIMED_OUT, retriable=True), Flag.RETRIABLE, Remedy.RETRY),
        (error(KafkaError.COORDINATOR_LOAD_IN_PROGRESS, retriable=True), Flag.RETRIABLE, Remedy.RETRY),
        (error(KafkaError.NOT_COORDINATOR, retriable=True), Flag.RETRIABLE, Remedy.RETRY),
        (error(KafkaError.CONCURRENT_TRANSACTIONS, retriable=True), Flag.RETRIABLE, Remedy.RETRY),
        # what nobody knows is as good as fatal
        (error(KafkaError.UNKNOWN), Flag.NONE, Remedy.REBUILD),
        (error(KafkaError._STATE), Flag.NONE, Remedy.REBUILD),
    ],
    ids=_named,
)
def test_a_flag_decides_where_no_code_does(failure: KafkaError, flag: Flag, remedy: Remedy) -> None:
    """Fatal, then abort, then again; nothing said is as good as fatal."""
    assert row_of(failure).what is flag
    assert classify(failure) is remedy


def test_every_row_is_tested() -> None:
    """A row that is added needs its line here, and each code has one row only."""
    codes = [row.what for row in TABLE if isinstance(row.what, int)]
    assert len(codes) == len(set(codes))
    assert set(codes) == {code for code, _ in EXPECTED}
    assert [row.what for row in TABLE if isinstance(row.what, Flag)] == list(Flag)


def test_fenced_is_told_apart_from_other_ends_of_a_producer() -> None:
    """Only who lost its id to somebody waits before it takes it back."""
    fenced = (KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH)
    assert all(is_fenced(error(code, fatal=True)) for code in fenced)
    assert not any(is_fenced(error(code, fatal=True)) for code in (KafkaError.INVALID_TXN_STATE, KafkaError._STATE))


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
