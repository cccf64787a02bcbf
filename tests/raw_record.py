"""One record written to a broker byte by byte, for what no client library would send.

Only the Produce request and the record batch that it carries; no retries, no discovery: the address must be that of the
partition's leader. The idea: a header's name is bytes on the wire, and a reader in Python wants text.

Source: Kafka's documentation, "Record Batch", and its protocol guide, Produce version 3.
"""

import socket
import struct
import time
from collections.abc import Sequence

PRODUCE, VERSION = 0, 3
ANSWER_SECONDS = 30.0
_NOT_YET = {3, 6}
"""The partition is not known, or led, where we ask."""
_CASTAGNOLI = 0x82F63B78
RawHeaders = Sequence[tuple[bytes, bytes | None]]


def write_raw(address: str, topic: str, partition: int, key: bytes, value: bytes, headers: RawHeaders) -> int:
    """Write the record and return its offset; waits while a new partition has no leader. Raises AssertionError."""
    batch = _batch(_record(key, value, headers))
    name = topic.encode()
    body = struct.pack(">hhih", PRODUCE, VERSION, 1, -1) + struct.pack(">hhi", -1, -1, 30_000)
    body += struct.pack(">ih", 1, len(name)) + name + struct.pack(">iii", 1, partition, len(batch)) + batch
    deadline = time.monotonic() + ANSWER_SECONDS
    while True:
        # correlation id, one topic, its name, one partition: then the partition's number, the error and the offset
        _, error, offset = struct.unpack_from(">ihq", _asked(address, body), 4 + 4 + 2 + len(name) + 4)
        if error not in _NOT_YET or time.monotonic() > deadline:
            assert error == 0, f"the broker answered with error {error}"
            return int(offset)


def _asked(address: str, body: bytes) -> bytes:
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), ANSWER_SECONDS) as connection:
        connection.settimeout(ANSWER_SECONDS)
        connection.sendall(struct.pack(">i", len(body)) + body)
        with connection.makefile("rb") as stream:
            return stream.read(struct.unpack(">i", stream.read(4))[0])


def _batch(record: bytes) -> bytes:
    counted = struct.pack(">hiqqqhii", 0, 0, -1, -1, -1, -1, -1, 1) + record
    return struct.pack(">qiibI", 0, 9 + len(counted), -1, 2, _crc32c(counted)) + counted


def _record(key: bytes, value: bytes, headers: RawHeaders) -> bytes:
    body = b"\x00" + _number(0) + _number(0) + _sized(key) + _sized(value) + _number(len(headers))
    body += b"".join(_sized(name) + _sized(text) for name, text in headers)
    return _number(len(body)) + body


def _sized(data: bytes | None) -> bytes:
    return _number(-1) if data is None else _number(len(data)) + data


def _number(value: int) -> bytes:
    left, digits = (value << 1) ^ (value >> 63), bytearray()
    while left > 0x7F:
        digits.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*digits, left])


def _crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (_CASTAGNOLI if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
