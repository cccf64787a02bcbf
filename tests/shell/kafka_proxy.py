"""A proxy before a broker that knows where Kafka's requests begin and end, and can keep one of them back.

Of each request it reads the length, the kind and the number that its answer will carry (the first twelve bytes); of
each answer the length and that number. What is kept back is delivered when the test says so, whatever became of the
connection that it came on.
"""

import socket
import struct
import threading
from contextlib import suppress

PRODUCE, INIT_PRODUCER_ID, END_TXN, TXN_OFFSET_COMMIT = 0, 22, 26, 28
"""Request kinds of Kafka's protocol."""
ANSWER_SECONDS = 10.0


class Held:
    """A request that is kept back: what it is, and what came of it."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.answered = threading.Event()
        self.answer = b""

    @property
    def error_code(self) -> int:
        """What the broker said, as EndTxn tells it (to librdkafka's version of it): 0 means that it was obeyed."""
        return int(struct.unpack(">h", self.answer[4:6])[0])


class KafkaProxy:
    """Forwards 127.0.0.1:`port` to the broker's port. `kinds` lists the requests that came, `answered` the answers."""

    def __init__(self, broker_port: int) -> None:
        """The broker must advertise `port`, or clients find their way past the proxy."""
        self.broker_port = broker_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.kinds: list[int] = []
        self.answered: list[int] = []
        self._held: list[Held] = []
        self._lock = threading.Lock()
        self._holding: list[tuple[int, bool]] = []
        self._connections: list[_Connection] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def hold_next(self, kind: int, *, cut: bool = True, times: int = 1) -> None:
        """Keep the next request of this kind back, and cut the connection that it came on, or leave it waiting.

        With `times` the ones after it too.
        """
        with self._lock:
            self._holding = [(kind, cut)] * times

    @property
    def held(self) -> int:
        """How many requests are kept back."""
        return len(self._held)

    def release(self) -> list[Held]:
        """Let what was kept back arrive now, in its order; returns it when the broker has answered."""
        released: list[Held] = []
        while self._held:
            held = self._held.pop(0)
            held.let_go.set()
            assert held.answered.wait(ANSWER_SECONDS), "the broker did not answer what was kept back"
            released.append(held)
        return released

    def stop(self) -> None:
        """Cut everything."""
        self._listener.close()
        for connection in self._connections:
            connection.close()

    def take(self, kind: int) -> tuple[Held, bool] | None:
        """A request came: whether it is to be kept back, and whether its connection is to be cut."""
        with self._lock:
            self.kinds.append(kind)
            if not self._holding or self._holding[0][0] != kind:
                return None
            _, cut = self._holding.pop(0)
            held = Held()
            self._held.append(held)
            return held, cut

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    upstream = socket.create_connection(("127.0.0.1", self.broker_port))
                except OSError:
                    client.close()
                    continue
                self._connections.append(_Connection(self, client, upstream))


class _Connection:
    """One client's connection, and ours to the broker for it."""

    def __init__(self, proxy: KafkaProxy, client: socket.socket, upstream: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._upstream = upstream
        self._asked: dict[int, tuple[int, Held | None]] = {}
        """By number: the kind of a request that is not answered yet, and what waits for its answer."""
        threading.Thread(target=self._requests, daemon=True).start()
        threading.Thread(target=self._answers, daemon=True).start()

    def close(self) -> None:
        for end in (self._client, self._upstream):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _requests(self) -> None:
        with suppress(OSError):
            while head := _read(self._client, 12):
                size, kind, _, number = struct.unpack(">ihhi", head)
                frame = head + _read(self._client, size - 8)
                kept = self._proxy.take(kind)
                self._asked[number] = (kind, kept[0] if kept else None)
                if kept:
                    self._keep(*kept)
                self._upstream.sendall(frame)
                if kept:
                    # The client may be gone; our own connection has to stay until the answer is there.
                    kept[0].answered.wait(ANSWER_SECONDS)
            self._upstream.shutdown(socket.SHUT_RDWR)

    def _keep(self, held: Held, cut: bool) -> None:  # noqa: FBT001 - comes as a pair
        if cut:
            self._client.shutdown(socket.SHUT_RDWR)
        held.let_go.wait()

    def _answers(self) -> None:
        with suppress(OSError):
            while head := _read(self._upstream, 8):
                size, number = struct.unpack(">ii", head)
                body = _read(self._upstream, size - 4)
                kind, held = self._asked.pop(number)
                self._proxy.answered.append(kind)
                if held:
                    held.answer = body
                    held.answered.set()
                with suppress(OSError):
                    self._client.sendall(head + body)
        with suppress(OSError):
            self._client.shutdown(socket.SHUT_RDWR)


def _read(stream: socket.socket, size: int) -> bytes:
    """Exactly so many bytes, or none when the other side has closed."""
    parts = bytearray()
    while len(parts) < size:
        some = stream.recv(size - len(parts))
        if not some:
            return b""
        parts += some
    return bytes(parts)
