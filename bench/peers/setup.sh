#!/bin/sh
# setup: makes .env-keras, the environment of the Keras peer. Python's own venv and pip do it;
# uv is used where it is on the PATH, or where UV names it.
#
#     sh bench/peers/setup.sh              PYTHON=python3.12 chooses another interpreter
set -eu
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
uv=${UV:-$(command -v uv || true)}
folder=.env-keras
wanted=bench/peers/requirements-keras.txt
began=$(date +%s)
if [ -n "$uv" ]; then
    [ -x "$folder/bin/python" ] || "$uv" venv --quiet --python "$python" "$folder"
    "$uv" pip install --quiet --python "$folder/bin/python" -r "$wanted"
else
    [ -x "$folder/bin/python" ] || "$python" -m venv "$folder"
    "$folder/bin/python" -m pip install --quiet -r "$wanted"
fi
echo "$folder is ready after $(($(date +%s) - began)) s"
