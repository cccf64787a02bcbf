"""What tests need to run programs of other languages: a Java that compiles, one more jar, npm packages by a lock file.

Here lives what is fetched once into the user's cache, never into the tree. What is run with it is the tests' business.

The idea: a tool that is absent skips a test and says which; one that is there and fails, fails it.
"""

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from processor.demo.kafka_parts import (
    OLDEST_JAVA,
    BrokerFailed,
    aside,
    cache_folder,
    find_java,
    gather,
    java_candidates,
    kept_safe,
)

AVRO = "1.12.1"
_AVRO_SHA256 = "72600f057bfbe2efe35fa55433e7756d45667dc938934be38a6e2be368aca237"
_CLIENT_JARS = ("kafka-clients-", "jackson-annotations-", "jackson-core-", "jackson-databind-", "slf4j-api-")
_NPM_SECONDS = 180.0


def program(name: str) -> str:
    """The path of a program; skips the test where there is none."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed here")
    return found


def java_with_a_compiler() -> str:
    """A Java that runs a source file; skips the test where there is only one that does not."""
    for candidate in java_candidates():
        try:
            java = find_java([candidate])
        except BrokerFailed:
            continue
        listed = subprocess.run([java.program, "--list-modules"], capture_output=True, text=True, check=False)
        if "jdk.compiler" in listed.stdout:
            return str(java.program)
    pytest.skip(f"no Java {OLDEST_JAVA} or newer with a compiler is installed here: the example needs a JDK")


def class_path_of_a_producer() -> str:
    """Kafka's client and Avro, of the versions that the example asks for, and what they need."""
    home = cache_folder().with_name(f"avro-{AVRO}")
    avro = home / f"avro-{AVRO}.jar"
    jars = gather().jars
    if not avro.is_file():
        with kept_safe(home), aside(home) as folder:
            fetched = _fetch_avro(folder)
            assert hashlib.sha256(fetched.read_bytes()).hexdigest() == _AVRO_SHA256, "this is not Avro's jar"
            fetched.rename(avro)
    clients = [jar for jar in sorted(jars.glob("*.jar")) if jar.name.startswith(_CLIENT_JARS)]
    assert len(clients) == len(_CLIENT_JARS)
    return ":".join(str(jar) for jar in [avro, *clients])


def _fetch_avro(folder: Path) -> Path:
    from jgo.config import GlobalSettings
    from jgo.constants import MAVEN_CENTRAL_URL
    from jgo.maven import MavenContext
    from jgo.parse import Coordinate

    repositories = {**GlobalSettings.load().repositories, "central": MAVEN_CENTRAL_URL}
    context = MavenContext(repo_cache=folder, remote_repos=repositories)
    return Path(context.create_dependency(Coordinate.parse(f"org.apache.avro:avro:{AVRO}")).artifact.resolve())


def npm_packages(folder: Path) -> Path:
    """The `node_modules` that `folder`'s lock file asks for, from the cache or installed now, without their scripts.

    Skips the test where there is no npm.
    """
    npm = program("npm")
    asked = [folder / "package.json", folder / "package-lock.json"]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in asked)).hexdigest()[:12]
    home = cache_folder().with_name(f"npm-{digest}")
    whole = home / "node_modules"  # of that name, or packages in it do not find each other
    with kept_safe(home):
        if not whole.is_dir():
            with aside(home) as fresh:
                for file in asked:
                    shutil.copy(file, fresh)
                command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
                done = subprocess.run(
                    command, cwd=fresh, capture_output=True, text=True, timeout=_NPM_SECONDS, check=False
                )
                assert done.returncode == 0, f"npm ci failed for {folder.name}: {done.stderr[-600:]}"
                (fresh / "node_modules").rename(whole)
    return whole
