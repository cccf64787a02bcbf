"""Which task a site belongs to: murmur2 of its id, as the Java client's default partitioner counts.

Nothing else lives here. The one idea: with N partitions, key `site_id` and murmur2 upstream, every input record is
already where its task is, and no record needs a hop.
"""

from functools import lru_cache

_MASK = 0xFFFFFFFF
_M = 0x5BD1E995
_SEED = 0x9747B28C


def murmur2(data: bytes) -> int:
    """Kafka's murmur2, 32 bits, unsigned (org.apache.kafka.common.utils.Utils.murmur2)."""
    length = len(data)
    h = _SEED ^ length
    whole = length & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * _M & _MASK
        k = (k ^ k >> 24) * _M & _MASK
        h = h * _M & _MASK ^ k
    rest = data[whole:]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    return h ^ h >> 15


@lru_cache(maxsize=65_536)
def task_of(site_id: str, tasks: int) -> int:
    """The task, 0 to tasks-1, that a site's records are processed by."""
    return (murmur2(site_id.encode()) & 0x7FFFFFFF) % tasks
