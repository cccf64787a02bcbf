"""librdkafka's own log, made fit for people: through our log, and one line per 30 s and kind.

Left alone it writes about 20 raw lines a second to stderr while a broker is away (measured).
"""

import logging
from collections.abc import Callable

import structlog

QUIET_SECONDS = 30.0


class _Bridge(logging.Handler):
    def __init__(self, monotonic: Callable[[], float]) -> None:
        super().__init__(logging.WARNING)
        self._monotonic = monotonic
        self._said_at: dict[str, float] = {}
        self._log = structlog.get_logger("librdkafka")

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        kind = message.split(" ", 1)[0]
        now = self._monotonic()
        if now - self._said_at.get(kind, -QUIET_SECONDS) < QUIET_SECONDS:
            return
        self._said_at[kind] = now
        self._log.log(record.levelno, message[:300])


class _Ear(logging.Handler):
    def __init__(self, hear: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self._hear = hear

    def emit(self, record: logging.LogRecord) -> None:
        self._hear(record.getMessage())


def librdkafka_logger(monotonic: Callable[[], float], hear: Callable[[str], None] = lambda _: None) -> logging.Logger:
    """A logger for the `logger` setting of confluent_kafka's clients. `hear` is told every line, also the quiet ones.

    A client hands its lines over only while it is polled, and on the thread that polls it.
    """
    logger = logging.Logger("librdkafka", logging.INFO)  # noqa: LOG001 - one of its own, outside the global tree
    logger.addHandler(_Bridge(monotonic))
    logger.addHandler(_Ear(hear))
    return logger
