"""A schema registry of one's own, for tests and trials: Apicurio Registry as a child process on loopback.

Here lives how it is fetched, started, killed and started again. What is asked of a registry is the business of
`processor.cli.schemas`, which knows only the API that all of them share.

The idea: it is fetched once by name and SHA-256 into the user's cache, as the broker's jars are, and runs on the same
Java. Its schemas are a file in a folder of its own, so that one that was killed comes back with what it had.
"""

import hashlib
import shutil
import tarfile
import tempfile
import time
from collections.abc import Callable
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import Self

from processor.demo.guarded import GuardedProcess
from processor.demo.kafka_node import HOST, free_port
from processor.demo.kafka_parts import BrokerFailed, Java, aside, cache_folder, find_java, java_candidates, quiet

__all__ = ["EmbeddedRegistry", "RegistryFailed"]

REGISTRY_VERSION = "3.0.9"
SHA256 = "2b28181501a20cbf6efcd77f9b7153908fc01f3d3a7c32024c0bd9e1b04c8a43"
_CONFLUENT_API = "/apis/ccompat/v7"
_READY_SECONDS = 60.0
_ASK_SECONDS = 2.0
_ASK_AGAIN_SECONDS = 0.05
_PORT_TRIES = 3
_LAST_WORDS_BYTES = 1500


class RegistryFailed(Exception):
    """No registry can be had; the message is one sentence or two for a person: what, why, what to try."""


class EmbeddedRegistry:
    """A real schema registry that speaks Confluent's API, on loopback, and that cannot outlive the caller.

    Its folder is a temporary one, gone after `stop`. `say` hears of the one-time download (110 MB). It takes about 5 s
    to start, and 230 MB. Not for use from several threads at once.
    """

    def __init__(self, say: Callable[[str], None] = quiet) -> None:
        self._say = say
        self._port = 0
        self._folder: Path | None = None
        self._process: GuardedProcess | None = None

    @property
    def url(self) -> str:
        """Where its API is; the same through `kill` and `restart`. Raises RegistryFailed before the first start."""
        if self._port == 0:
            raise RegistryFailed("The registry has no address yet: start it first.")
        return f"http://{HOST}:{self._port}{_CONFLUENT_API}"

    @property
    def pid(self) -> int | None:
        """The process id of a registry that runs, else None."""
        process = self._process
        return process.pid if process is not None and process.exit_code is None else None

    def start(self) -> None:
        """Start it and wait, up to 60 s, until it answers; raises RegistryFailed when it does not come up.

        After `kill` it comes back at the same address with the schemas it had.
        """
        if self.pid is not None:
            return
        self.kill()
        try:
            java, program = find_java(java_candidates()), _program(self._say)
            self._start_on_a_free_port(java, program)
        except BrokerFailed as failed:
            self.stop()
            raise RegistryFailed(f"The embedded registry runs on what the broker runs on. {failed}") from failed
        except OSError as error:
            self.stop()
            raise RegistryFailed(
                f"The embedded registry cannot be started ({error}): make room in the user's cache and in the folder "
                "for temporary files."
            ) from error
        except BaseException:
            self.stop()
            raise

    def kill(self) -> None:
        """End it at once, as a power cut would; address and schemas are kept for `restart`."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def restart(self) -> None:
        """`kill` it if it runs, then start it again at the same address with the schemas it has."""
        self.kill()
        self.start()

    def stop(self) -> None:
        """End it and remove its folder. Harmless when it does not run."""
        self.kill()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        self._port = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start_on_a_free_port(self, java: Java, program: Path) -> None:
        folder = self._folder = self._folder or Path(tempfile.mkdtemp(prefix="axle-processor-registry-"))
        log = folder / "registry.log"
        for tries_left in reversed(range(_PORT_TRIES)):
            port = self._port or free_port()
            log.write_bytes(b"")
            process = GuardedProcess(_command(java, program, folder, port), log=log, remove=folder)
            try:
                _wait_ready(process, port, log)
            except BaseException as failure:
                process.kill()
                taken = isinstance(failure, RegistryFailed) and "already in use" in str(failure)
                if self._port != 0 or not taken or tries_left == 0:
                    raise
            else:
                self._process, self._port = process, port
                return


def _program(say: Callable[[str], None]) -> Path:
    """The registry's jar, with its libraries beside it, from the cache or fetched now."""
    home = cache_folder().with_name(f"registry-{REGISTRY_VERSION}")
    whole = home / "app"
    if not whole.is_dir():
        home.mkdir(parents=True, exist_ok=True)
        say(f"Fetching Apicurio Registry {REGISTRY_VERSION}, once: about 110 MB.")
        with aside(home) as folder:
            archive = _download(folder / "repository")
            if hashlib.sha256(archive.read_bytes()).hexdigest() != SHA256:
                raise RegistryFailed(
                    "The download of the registry is not the file this release was tested with: look at the mirror or "
                    "proxy between here and the Maven repository."
                )
            with tarfile.open(archive) as packed:
                packed.extractall(folder / "app", filter="data")
            # Somebody else may have put it there meanwhile: then theirs is as good, byte for byte.
            if not whole.is_dir():
                (folder / "app").rename(whole)
    return whole / f"apicurio-registry-app-{REGISTRY_VERSION}-runner.jar"


def _download(folder: Path) -> Path:
    try:
        from jgo.config import GlobalSettings  # noqa: PLC0415 - an optional package
        from jgo.constants import MAVEN_CENTRAL_URL  # noqa: PLC0415
        from jgo.maven import MavenContext  # noqa: PLC0415
        from jgo.parse import Coordinate  # noqa: PLC0415
    except ImportError as error:
        raise RegistryFailed(
            "The registry is fetched with the package jgo, which is not installed: pip install 'axle-processor[demo]'."
        ) from error
    repositories = {**GlobalSettings.load().repositories, "central": MAVEN_CENTRAL_URL}
    context = MavenContext(repo_cache=folder, remote_repos=repositories)
    wanted = Coordinate("io.apicurio", "apicurio-registry-app", REGISTRY_VERSION, "all", "tar.gz")
    try:
        return Path(context.create_dependency(wanted).artifact.resolve())
    except (OSError, RuntimeError) as error:
        raise RegistryFailed(
            f"Apicurio Registry {REGISTRY_VERSION} cannot be fetched ({error}): check the network, or name a mirror in "
            "the section [repositories] of jgo's settings file."
        ) from error


def _command(java: Java, program: Path, folder: Path, port: int) -> list[str]:
    settings = {
        "java.io.tmpdir": folder,
        "quarkus.http.host": HOST,
        "quarkus.http.port": port,
        "quarkus.log.level": "WARN",
        "apicurio.storage.kind": "sql",
        "apicurio.storage.sql.kind": "h2",
        # Written at once, or a killed one forgets what it said yes to.
        "apicurio.datasource.url": f"jdbc:h2:file:{folder / 'schemas'};WRITE_DELAY=0",
    }
    flags = [f"-D{name}={value}" for name, value in settings.items()]
    report = f"-XX:ErrorFile={folder / 'java-crash.log'}"
    quick_start = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
    return [str(java.program), *quick_start, report, *flags, "-jar", str(program)]


def _wait_ready(process: GuardedProcess, port: int, log: Path) -> None:
    """Raises RegistryFailed with the last words of a process that ended, or said nothing for 60 s."""
    deadline = time.monotonic() + _READY_SECONDS
    while not _answers(port):
        if process.exit_code is None and time.monotonic() < deadline:
            time.sleep(_ASK_AGAIN_SECONDS)
            continue
        what = f"did not come up within {_READY_SECONDS:.0f} s" if process.exit_code is None else "ended at once"
        last_words = log.read_bytes()[-_LAST_WORDS_BYTES:].decode(errors="replace").strip()
        raise RegistryFailed(f"The embedded registry {what}. Its last words:\n{last_words or '(none)'}")
    if process.exit_code is not None:
        raise RegistryFailed(f"Port {port} is already in use by something else that answers: end it, or try again.")


def _answers(port: int) -> bool:
    connection = HTTPConnection(HOST, port, timeout=_ASK_SECONDS)
    try:
        connection.request("GET", f"{_CONFLUENT_API}/subjects")
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
