#!/bin/sh
# setup: makes the environments of the peers, .env-NAME: all six (14 GB), or those that are named.
# Python's own venv and pip do it; uv is used where it can be had.
#
#     sh bench/peers/setup.sh [NAME...]        PYTHON=python3.12 chooses another interpreter
set -eu
cd "$(dirname "$0")/../.."
exec "${PYTHON:-python3}" bench/peers/environment.py "$@"
