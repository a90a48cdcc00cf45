#!/bin/sh
# Tests what is deployed: ./test.sh [local|compose|k8s|asm] [requester options]; with no mesh up, it makes one for itself.
set -eu
from=$(pwd)
root=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
cd "$root"
# shellcheck source=scripts/venv.sh disable=SC1091
. scripts/venv.sh
venv local
cd "$from"
PYTHONSAFEPATH=1 PYTHONPATH=$root exec "$VENV/bin/python" -m deploy test "$@"
