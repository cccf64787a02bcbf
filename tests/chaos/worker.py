"""A processor of the chaos runs: `axle-processor run` to the letter, with failpoints in what it is handed.

Settings come from the environment as always; three further words tell where its orders come from and where it writes
down that it obeyed. The idea: whatever is different here from a processor in production is in `failpoints.py`.
"""

import asyncio
import os
import random
import signal
import sys
from pathlib import Path

from processor.cli.run import run_verb
from processor.shell.axle_transport import http_transport
from processor.shell.service import Service, ServiceConfig
from tests.chaos.failpoints import FailingConsumer, FailingProducer, FailingTransport, Failpoints

ORDERS, JOURNAL, SEED = "CHAOS_ORDERS", "CHAOS_JOURNAL", "CHAOS_SEED"
"""Variables: the file that orders come in (read at the start and at each SIGUSR1), the journal, the seed of chance."""


def main() -> int:
    """Run until a signal, or until an order. Returns the exit code of `run`."""
    chance = random.Random(os.environ[SEED])
    failpoints = Failpoints(Path(os.environ[ORDERS]), Path(os.environ[JOURNAL]), chance)
    failpoints.take_orders()

    def build(config: ServiceConfig) -> Service:
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, failpoints.take_orders)
        return Service(
            config,
            FailingTransport(http_transport(), failpoints),
            producer=lambda settings: FailingProducer(settings, failpoints),
            reader=lambda settings: FailingConsumer(settings, failpoints),
        )

    return run_verb(build)


if __name__ == "__main__":
    sys.exit(main())
