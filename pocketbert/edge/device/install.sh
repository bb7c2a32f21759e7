#!/bin/sh
# Installs a PocketBERT bundle with its libraries into a new folder, without network:
#
#     sh install.sh FOLDER
#
# Needs CPython @PYTHON@ on @TARGET@ Linux with glibc. Needs no pip, no venv and no root. The variable PYTHON names
# another interpreter: PYTHON=/opt/python/bin/python3 sh install.sh FOLDER

fail() {
    printf 'error: %s\n' "$1" >&2
    exit 2
}

case ${1-} in
    -h | --help)
        echo "usage: sh install.sh FOLDER    (FOLDER must not exist; PYTHON=... names the CPython @PYTHON@ to use)"
        exit 0
        ;;
    '' | -*) fail "expected a folder that does not exist yet: sh install.sh FOLDER" ;;
esac
[ $# -eq 1 ] || fail "got $# arguments; expected one folder: sh install.sh FOLDER"

case $(uname -m) in
    aarch64 | arm64) machine=aarch64 ;;
    x86_64 | amd64) machine=x86_64 ;;
    *) machine=$(uname -m) ;;
esac
[ "$machine" = @TARGET@ ] ||
    fail "got a processor of type $machine; this archive is for @TARGET@; make one with --target $machine"

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd) || exit 2
[ -f "$here/install.py" ] || fail "install.py is missing; unpack the whole archive, and start its own install.sh"

is_right='import sys; sys.exit((sys.implementation.name, sys.version_info[:2]) != ("cpython", (@PYTHON_TUPLE@)))'
version='import platform; print(platform.python_implementation(), platform.python_version())'
others=
for python in ${PYTHON:+"$PYTHON"} python@PYTHON@ python3 python; do
    if "$python" -I -c "$is_right" >/dev/null 2>&1; then
        exec "$python" -I -B "$here/install.py" "$1"
    fi
    if got=$("$python" -I -c "$version" 2>/dev/null); then
        others="$others $got ($python),"
    fi
    [ -z "${PYTHON-}" ] || fail "PYTHON=$PYTHON: got${others:- no interpreter,} expected CPython @PYTHON@"
done
fail "got${others:- no Python,} expected CPython @PYTHON@; install it, name it with PYTHON=..., or make an archive with \
--python"
