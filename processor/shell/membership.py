"""Group metadata: how librdkafka hands a membership from a consumer to a transaction, read as far as needed.

The one idea: brokers check the group's generation in a transaction's offsets only where a member is named. Metadata
that name nobody are accepted from anybody, also in a group that has members (measured), so they fence no zombie.
"""

import sys

_HEAD = b"CGMDv2:"
"""Then a 32-bit generation in this machine's byte order, group id, member id and instance id, each ended by a zero."""
_GENERATION_BYTES = 4


def names_a_member(metadata: object) -> bool:
    """Whether it was taken while its consumer was in the group, which a consumer that fell out is not for a moment.

    Its partitions look like its own until the next poll. Raises ValueError when librdkafka writes it in a new way.
    """
    if not isinstance(metadata, bytes) or not metadata.startswith(_HEAD):
        raise ValueError(f"this librdkafka's group metadata cannot be read: {metadata!r}")
    rest = metadata[len(_HEAD) :]
    generation = int.from_bytes(rest[:_GENERATION_BYTES], sys.byteorder, signed=True)
    _, member_id, *_ = rest[_GENERATION_BYTES:].split(b"\0")
    return generation >= 0 and bool(member_id)
