"""The Flex Lite stream processor: Kafka in, Axle asked, Kafka out, exactly once.

Start reading in `core/decide.py` (what is decided), then `shell/loop.py` (how it is done).
"""

__version__ = "0.1.0"
