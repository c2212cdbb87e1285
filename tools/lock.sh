#!/bin/sh
# Writes requirements.lock and requirements-image.lock, for all architectures and versions of Python at once, with the
# hash of every file; without the place that they came from, which differs from machine to machine.
set -eu
cd "$(dirname "$0")/.."

lock() { # FILE WHAT...
    file=$1
    shift
    uv pip compile --quiet --upgrade --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
        --no-annotate --no-emit-index-url --custom-compile-command "make lock" "$@" --output-file "$file"
}

installs() { # FILE ARCHITECTURE PYTHON: are there wheels of everything?
    uv pip install --quiet --dry-run --target /nonexistent --python-platform "$2-manylinux_2_28" --python-version "$3" \
        --only-binary :all: --require-hashes --requirement "$1"
}

lock requirements.lock pyproject.toml --extra kubelet --extra otlp
lock requirements-image.lock --group image
for file in requirements.lock requirements-image.lock; do
    for architecture in x86_64 aarch64; do
        for python in 3.11 3.13; do
            installs "$file" "$architecture" "$python"
        done
    done
done
