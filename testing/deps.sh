#!/bin/sh
# Brings what the build needs beside Rust: a C compiler, cmake and make. Says what it installs; asks for nothing it can't have.
set -eu

missing=""
command -v cc >/dev/null 2>&1 || missing="$missing gcc libc6-dev"
command -v cmake >/dev/null 2>&1 || missing="$missing cmake"
command -v make >/dev/null 2>&1 || missing="$missing make"
command -v cargo >/dev/null 2>&1 || {
    echo "svc-edge needs Rust (cargo): install it by rustup, or by your distribution, then try again." >&2
    exit 1
}
[ -z "$missing" ] && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing, by apt-get:$missing"
    apt-get update -qq
    # shellcheck disable=SC2086 # a list of packages
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
elif [ "$missing" = " cmake" ] && command -v pip3 >/dev/null 2>&1; then
    echo "installing, by pip3, for this user: cmake"
    pip3 install --user --quiet cmake
    command -v cmake >/dev/null 2>&1 || {
        echo "cmake was installed, but its directory is not on PATH: add \$HOME/.local/bin" >&2
        exit 1
    }
else
    echo "svc-edge needs:$missing" >&2
    echo "  as root:      apt-get install$missing" >&2
    echo "  without root: pip install --user cmake   (or any cmake on PATH)" >&2
    exit 1
fi
