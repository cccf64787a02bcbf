"""Group metadata as librdkafka writes it."""

import sys

import pytest
from confluent_kafka import Consumer

from processor.shell.membership import names_a_member


def metadata(generation: int, member_id: bytes, head: bytes = b"CGMDv2:") -> bytes:
    return head + generation.to_bytes(4, sys.byteorder, signed=True) + b"group\0" + member_id + b"\0\x01"


@pytest.mark.parametrize(
    ("generation", "member_id", "expected"),
    [(1, b"rdkafka-1", True), (0, b"rdkafka-1", True), (-1, b"rdkafka-1", False), (3, b"", False), (-1, b"", False)],
)
def test_a_member_has_a_name_and_a_generation(generation: int, member_id: bytes, *, expected: bool) -> None:
    """One without the other is what a consumer has that fell out of its group."""
    assert names_a_member(metadata(generation, member_id)) is expected


def test_who_never_joined_is_no_member() -> None:
    """The library's own metadata of a consumer outside any group are read, and say so."""
    consumer = Consumer({"bootstrap.servers": "127.0.0.1:1", "group.id": "group", "log_level": 0})
    assert not names_a_member(consumer.consumer_group_metadata())
    consumer.close()


@pytest.mark.parametrize("unknown", [b"CGMDv3:...", "CGMDv2:", metadata(1, b"m", b"CGMDv1:"), object()])
def test_another_form_is_an_error(unknown: object) -> None:
    """A librdkafka that writes metadata differently is noticed, not believed."""
    with pytest.raises(ValueError, match="cannot be read"):
        names_a_member(unknown)
