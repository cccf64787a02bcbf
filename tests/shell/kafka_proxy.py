"""A proxy before a broker that knows where Kafka's requests begin, and can keep one back while it cuts its connection.

It reads only the length and the kind of each request (the first six bytes); answers are passed on as they come.
"""

import socket
import struct
import threading
from contextlib import suppress

PRODUCE, INIT_PRODUCER_ID, END_TXN = 0, 22, 26
"""Request kinds of Kafka's protocol."""


class KafkaProxy:
    """Forwards 127.0.0.1:`port` to the broker's port. `kinds` lists the requests that came, in their order."""

    def __init__(self, broker_port: int) -> None:
        """The broker must advertise `port`, or clients find their way past the proxy."""
        self.broker_port = broker_port
        self._broker = ("127.0.0.1", broker_port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.kinds: list[int] = []
        self._held: list[tuple[socket.socket, bytes]] = []
        self._holding: int | None = None
        self._answered_nobody = threading.Event()
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def hold_next(self, kind: int) -> None:
        """Keep the next request of this kind back, and cut the connection that it came on."""
        self._holding = kind

    @property
    def held(self) -> int:
        """How many requests are kept back."""
        return len(self._held)

    def release(self) -> None:
        """Let what was kept back arrive now, and return when the broker has answered it."""
        for upstream, frame in self._held:
            upstream.sendall(frame)
        assert self._answered_nobody.wait(10), "the broker did not answer what was kept back"
        self._held.clear()

    def stop(self) -> None:
        """Cut everything."""
        self._listener.close()
        for end in self._open:
            end.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                upstream = socket.create_connection(self._broker)
                self._open += [client, upstream]
                threading.Thread(target=self._requests, args=(client, upstream), daemon=True).start()
                threading.Thread(target=self._answers, args=(upstream, client), daemon=True).start()

    def _requests(self, client: socket.socket, upstream: socket.socket) -> None:
        with suppress(OSError):
            while head := _read(client, 6):
                size, kind = struct.unpack(">ih", head)
                frame = head + _read(client, size - 2)
                self.kinds.append(kind)
                if kind == self._holding:
                    self._holding = None
                    self._held.append((upstream, frame))
                    client.shutdown(socket.SHUT_RDWR)
                    return
                upstream.sendall(frame)
            upstream.shutdown(socket.SHUT_RDWR)

    def _answers(self, upstream: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while some := upstream.recv(65_536):
                try:
                    client.sendall(some)
                except OSError:
                    self._answered_nobody.set()
                    return
            client.shutdown(socket.SHUT_RDWR)


def _read(stream: socket.socket, size: int) -> bytes:
    """Exactly so many bytes, or none when the other side has closed."""
    parts = bytearray()
    while len(parts) < size:
        some = stream.recv(size - len(parts))
        if not some:
            return b""
        parts += some
    return bytes(parts)
