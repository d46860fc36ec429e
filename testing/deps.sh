#!/bin/sh
# Brings what the build needs beside Rust: a C compiler with its headers, cmake and make, for SQLite and zlib-ng, which are built in.
#
#     sh testing/deps.sh          what the build needs
#     sh testing/deps.sh test     what `make test` needs as well: rustfmt and clippy, and nginx as a real origin with TLS
#     sh testing/deps.sh perf     what `make perf` needs as well: wrk; and the servers that it measures beside ours, without which it goes on
#     sh testing/deps.sh perf-quick     the same for `make perf-quick`: wrk and nginx
#
# On Debian as root what is missing is installed by apt-get. Without root cmake alone can be brought, into var/tools, which the
# Makefile puts on PATH. Of the rest it is said how to get it. Exit code 0: all is there; 1: something is missing, named.
set -eu
cd "$(dirname "$0")/.."
what=${1:-build}
tools=$PWD/var/tools
PATH=$tools/bin:$PATH

# Say what is missing, then what to do, a line each, and end.
fail() {
    echo "svc-edge needs $1" >&2
    shift
    for line; do echo "  $line" >&2; done
    exit 1
}

# 1.89 and 1.89.1 as 10089.
comparable() {
    echo "$1" | awk -F. '{ print $1 * 10000 + $2 }'
}

check_rust() {
    wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
    how="install it from https://rustup.rs; Debian's own package is older"
    command -v cargo >/dev/null 2>&1 || fail "Rust $wanted or newer, and there is no cargo on PATH" "$how"
    found=$(rustc --version 2>/dev/null | cut -d ' ' -f 2) || true
    [ -n "$found" ] || fail "Rust $wanted or newer, and rustc does not run" "with rustup: rustup default stable" "else: $how"
    [ "$(comparable "$found")" -ge "$(comparable "$wanted")" ] ||
        fail "Rust $wanted or newer, and this is $found ($(command -v rustc))" "with rustup: rustup update stable" "else: $how"
}

check_rust_for_tests() {
    components=""
    cargo fmt --version >/dev/null 2>&1 || components="$components rustfmt"
    cargo clippy --version >/dev/null 2>&1 || components="$components clippy"
    [ -z "$components" ] || fail "${components# } for its tests" "rustup component add$components"
}

missing_to_measure() {
    # Program, a colon, Debian's package.
    wanted="python3:python3 taskset:util-linux wrk:wrk nginx:nginx"
    [ "$what" != perf ] || wanted="$wanted varnishd:varnish h2o:h2o"
    for each in $wanted; do
        PATH=$PATH:/usr/sbin command -v "${each%:*}" >/dev/null 2>&1 || echo "${each#*:}"
    done
}

# Debian's names of the packages that are missing. A compiler without headers is as good as none.
missing() {
    packages=""
    echo '#include <stdlib.h>' | ${CC:-cc} -fsyntax-only -x c - >/dev/null 2>&1 || packages="gcc libc6-dev"
    cmake --version >/dev/null 2>&1 || packages="$packages cmake"
    command -v make >/dev/null 2>&1 || packages="$packages make"
    # Debian has it in /usr/sbin, which is not on everybody's PATH.
    [ "$what" != test ] || PATH=$PATH:/usr/sbin command -v nginx >/dev/null 2>&1 || packages="$packages nginx"
    # What is measured, and by what.
    case $what in perf | perf-quick) packages="$packages $(missing_to_measure)" ;; esac
    # Unquoted: the blanks at the ends go.
    echo $packages
}

# cmake from PyPI, in an environment of its own: Debian's pip installs into no other (PEP 668).
bring_cmake() {
    command -v python3 >/dev/null 2>&1 || return 0
    echo "installing cmake into var/tools, by pip"
    log=$(mktemp)
    if ! { python3 -m venv "$tools" && "$tools/bin/pip" install --quiet --disable-pip-version-check --retries 1 cmake; } >"$log" 2>&1; then
        echo "that failed:" >&2
        tail -n 5 "$log" | sed 's/^/  | /' >&2
        # Half an environment would be in the way of the next try.
        rm -rf "$tools"
    fi
    rm -f "$log"
}

check_rust
[ "$what" != test ] || check_rust_for_tests
need=$(missing)
[ -n "$need" ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing, by apt-get: $need"
    # Lists that can't be brought up to date may still do.
    apt-get update -qq || true
    # Debian starts a server that it installs, here on port 80. The tests start an nginx of their own, and nobody asked for another.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        trap 'rm -f $policy' EXIT
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod 755 $policy
    fi
    # shellcheck disable=SC2086 # a list of packages
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $need >/dev/null || fail "$need, and apt-get could not install it"
elif [ "${need#*cmake}" != "$need" ]; then
    bring_cmake
fi

need=$(missing)
[ -n "$need" ] || exit 0
# Without a peer there is less to see, but something.
if [ "$what" = perf ] && [ -z "$(echo " $need " | sed 's/ nginx / /; s/ varnish / /; s/ h2o / /; s/ //g')" ]; then
    echo "not installed, and so not measured: $need   (as root: apt-get install $need)" >&2
    exit 0
fi
[ "$need" != cmake ] ||
    fail cmake "as root: apt-get install cmake" "else:    pipx install cmake, or unpack a release of cmake and put its bin directory on PATH"
fail "$need" "as root: apt-get install $need   (or the packages of your distribution)"
