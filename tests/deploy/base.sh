#!/usr/bin/env bash
# Makes a base image from Debian's packages alone, for a machine where no image can be pulled. As root, with Docker:
#   tests/deploy/base.sh axle-processor-base:local
#   docker build -f deploy/Dockerfile --build-arg PYTHON_IMAGE=axle-processor-base:local -t axle-processor:local .
# It is a Debian with Python and the certificates that this machine trusts; what docs say of the real base holds for it.
set -euo pipefail
name=${1:?"the name of the image to make, as in axle-processor-base:local"}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$folder" >&2
ln -s python3 "$folder/usr/bin/python"
cp /etc/ssl/certs/ca-certificates.crt "$folder/etc/ssl/certs/ca-certificates.crt"
rm -rf "$folder"/var/cache/apt/archives/*.deb "$folder"/var/lib/apt/lists/* "$folder"/usr/share/{doc,man,locale}/*
tar -C "$folder" --one-file-system -c . | docker import \
    --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
    --change 'ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt' - "$name"
