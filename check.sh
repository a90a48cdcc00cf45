#!/bin/sh
# The project's own checks: lint, types, tests. `./check.sh tests/talk -k tls` runs only these tests;
# `./check.sh soak` and `./check.sh chaos` run the long ones.
set -eu
cd "$(dirname "$0")"
. scripts/venv.sh
venv dev

case ${1:-} in
  soak | chaos)
    long=$1
    shift
    exec .venv/bin/python -m pytest -m "$long" --timeout 3600 "$@"
    ;;
esac

.venv/bin/ruff check .
.venv/bin/ruff format --check --quiet . || {
  echo "some files are not formatted: run .venv/bin/ruff format ." >&2
  exit 1
}
! [ -x .venv/bin/shellcheck ] || .venv/bin/shellcheck -x ./*.sh scripts/gen scripts/lock scripts/venv.sh .ci/run .ci/docker
.venv/bin/mypy
exec .venv/bin/python -m pytest -m "not soak and not chaos and not long" "$@"
