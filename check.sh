#!/bin/sh
# The project's own checks: lint, types, tests, the tests in parallel.
set -eu
here=$(pwd)
cd "$(dirname "$0")"

usage() {
  cat <<'TEXT'
usage: ./check.sh [--quick | --full | --rest | --long | --cluster] [--junit FILE] [WORD ...]
       ./check.sh soak | chaos [WORD ...]

Lint, types and tests; exit code 0 when all of it is well. Other words go to pytest.

  --quick       lint, types, and the tests that start no process: seconds
  --full        every cell of the tables too, and what is slow: what continuous integration runs
  --rest        what --full adds, alone, without lint and types
  --long        what asks much of others too, with all of --full, and many more examples for the tests by examples
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

others="not soak and not chaos and not cluster"
marks="$others and not long and not full"
examples=default
chosen=
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
    --quick | --full | --rest | --long | --cluster)
      [ "${chosen:-$word}" = "$word" ] || refuse "$chosen and $word exclude each other"
      chosen=$word
      ;;
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
case $chosen in
  --quick) marks=unit ;;
  --full) marks="$others and not long" ;;
  --rest) marks="$others and not long and full" ;;
  --long) marks=$others examples=long ;;
  --cluster) alone=cluster ;;
esac
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

lint_and_types() {
  .venv/bin/ruff check .
  .venv/bin/ruff format --check --quiet . || {
    echo "some files are not formatted: run .venv/bin/ruff format ." >&2
    exit 1
  }
  ! [ -x .venv/bin/shellcheck ] || .venv/bin/shellcheck -x ./*.sh scripts/gen scripts/lock scripts/venv.sh .ci/run .ci/docker
  .venv/bin/mypy
}

[ "$chosen" = --rest ] || lint_and_types
# Four workers for two cores, for tests wait longer than they compute; tests/conftest.py says which stay together.
workers=$(($(getconf _NPROCESSORS_ONLN) * 2))
exec .venv/bin/python -m pytest -n "$workers" --maxprocesses 8 --dist loadgroup \
  --hypothesis-profile "$examples" -m "$marks" "$@"
