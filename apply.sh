#!/bin/sh
# Deploys the chain: ./apply.sh [local|compose|k8s|asm] [up|down] [options]; ./apply.sh local up --help tells them.
set -eu
from=$(pwd)
root=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
cd "$root"
# shellcheck source=scripts/venv.sh disable=SC1091
. scripts/venv.sh
venv local
cd "$from"
PYTHONSAFEPATH=1 PYTHONPATH=$root exec "$VENV/bin/python" -m deploy apply "$@"
