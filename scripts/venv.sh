# shellcheck shell=sh
# Sourced by apply.sh, test.sh and check.sh, in the repository's root: makes .venv hold what a lock file says.
# venv NAME: installs requirements/NAME.lock when it was not yet, or when it has changed since.
find_python() {
  for candidate in "${PYTHON:-python3}" python3.14 python3.13 python3.12 python3.11; do
    # Debian's Python without python3-venv has the module venv, and lacks what it needs.
    if "$candidate" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  echo "needs Python 3.11 or later with its venv module: install it (Debian: apt install python3-venv) or name it, PYTHON=/path/to/python3 $0" >&2
  return 2
}

# usable: an environment whose making broke off has a Python and no pip.
usable() { .venv/bin/python -c 'import pip' >/dev/null 2>&1; }

venv() {
  lock=requirements/$1.lock
  stamp=.venv/$1.lock
  if cmp -s "$lock" "$stamp" && usable; then
    return
  fi
  python=$(find_python) || exit 2
  echo "installing $lock into .venv (once)" >&2
  usable || { rm -rf .venv; "$python" -m venv .venv; }
  .venv/bin/python -m pip install --disable-pip-version-check --require-hashes --only-binary :all: -r "$lock" >&2 || {
    echo "could not install $lock: see pip's words above; .venv can be removed and made again" >&2
    exit 2
  }
  case $1 in
    dev) cp requirements/*.lock .venv/ ;; # it holds the others
    *) cp "$lock" "$stamp" ;;
  esac
}
