#!/bin/sh
# The project's own checks: lint, types, tests, the tests in parallel.
set -eu
here=$(pwd)
cd "$(dirname "$0")"

usage() {
  cat <<'TEXT'
usage: ./check.sh [--quick | --long | --cluster] [--junit FILE] [WORD ...]
       ./check.sh soak | chaos [WORD ...]

Lint, types and tests; exit code 0 when all of it is well. Other words go to pytest.

  --quick       lint, types, and the tests that start no process: seconds
  --long        what asks much of others too, and many more examples for the tests by examples
  --cluster     the tests on the cluster that KUBECONFIG names, alone: docs/kubernetes.md
  --junit FILE  a report in JUnit's format, for a CI system
  soak, chaos   a load for minutes; processes that are killed and paused. One test at a time

  ./check.sh tests/talk -k tls     only these tests
  ./check.sh -n 0 --pdb tests/talk one after the other, with a debugger
TEXT
}

refuse() {
  echo "check: $1; ./check.sh --help shows what there is" >&2
  exit 2
}

marks="not soak and not chaos and not long and not cluster"
examples=default
quick=
alone=
junit=
case ${1:-} in
  soak | chaos)
    alone=$1
    shift
    ;;
esac
left=$#
while [ "$left" -gt 0 ]; do
  word=$1
  shift
  left=$((left - 1))
  case $word in
    --help | -h) usage && exit ;;
    --quick) quick=yes ;;
    --cluster) alone=cluster ;;
    --long) marks="not soak and not chaos and not cluster" examples=long ;;
    --junit=*) junit=${word#*=} ;;
    --junit)
      [ "$left" -gt 0 ] || refuse "--junit needs a file"
      junit=$1
      shift
      left=$((left - 1))
      ;;
    *) set -- "$@" "$word" ;;
  esac
done
[ -z "$quick" ] || [ "$examples" = default ] || refuse "--quick and --long exclude each other"
[ -z "$quick" ] || marks=unit
case $junit in
  "") ;;
  /*) set -- --junit-xml "$junit" "$@" ;;
  *) set -- --junit-xml "$here/$junit" "$@" ;;
esac

. scripts/venv.sh
venv dev
# pytest would tell of a wrong option only after lint and types, and in five lines.
unknown=$(.venv/bin/python -m pytest --version --version "$@" 2>&1 | sed -n 's/.*error: //p')
[ -z "$unknown" ] || refuse "$unknown"

if [ -n "$alone" ]; then
  exec .venv/bin/python -m pytest -m "$alone" --timeout 3600 "$@"
fi

.venv/bin/ruff check .
.venv/bin/ruff format --check --quiet . || {
  echo "some files are not formatted: run .venv/bin/ruff format ." >&2
  exit 1
}
! [ -x .venv/bin/shellcheck ] || .venv/bin/shellcheck -x ./*.sh scripts/gen scripts/lock scripts/venv.sh .ci/run .ci/docker
.venv/bin/mypy
# A worker for each core; tests/conftest.py says which tests stay together.
exec .venv/bin/python -m pytest -n logical --maxprocesses 8 --dist loadgroup \
  --hypothesis-profile "$examples" -m "$marks" "$@"
