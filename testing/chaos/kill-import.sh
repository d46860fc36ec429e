#!/bin/sh
# Kill `cas import` at random moments and see that the store is whole each time.
#
#   testing/chaos/kill-import.sh BIN N
#
# Each of the N rounds changes part of a tree of files, starts an import of it into one CAS, kills that process with SIGKILL at a
# random moment of the time an import takes, and runs `cas verify`, which must find nothing. Every third round the index is lost
# as well. At the end one import runs to its end, and every object that is listed is compared with its file, byte by byte.
set -eu

bin=${1:?usage: kill-import.sh BIN N}
rounds=${2:?usage: kill-import.sh BIN N}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/tree cas=$work/cas
mkdir -p "$tree/small" "$tree/large"

# A number below $1, from the kernel: `$RANDOM` is not in every sh.
below() {
    number=$(od -An -N4 -tu4 /dev/urandom)
    echo $((number % $1))
}

# Round $1 of the tree: 150 files under new names, 50 that change in place, one of more than one segment.
grow() {
    for number in $(seq 150); do echo "round $1 file $number" >"$tree/small/$1-$number"; done
    for number in $(seq 50); do echo "round $1 changed" >"$tree/small/changed-$number"; done
    head -c $((300000 + $(below 900000))) /dev/urandom >"$tree/large/$(($1 % 4))"
}

fail() {
    echo "kill-import: round $round: $1" >&2
    exit 1
}

round=0
grow 0
begin=$(date +%s%N)
"$bin" cas import "$tree" --prefix p --cas-dir "$cas" >/dev/null || fail "the first import failed"
# In milliseconds: about what an undisturbed import takes. It follows the tree, so that some are killed late and some get away.
span=$((($(date +%s%N) - begin) / 1000000 + 20))

killed=0 ended=0 lost=0
while [ "$round" -lt "$rounds" ]; do
    round=$((round + 1))
    grow "$round"
    "$bin" cas import "$tree" --prefix p --cas-dir "$cas" >/dev/null 2>"$work/err" &
    pid=$!
    wait_ms=$(below "$span")
    sleep "$(printf '%d.%03d' $((wait_ms / 1000)) $((wait_ms % 1000)))"
    kill -9 "$pid" 2>/dev/null || true
    if wait "$pid" 2>/dev/null; then
        ended=$((ended + 1))
        span=$((span * 3 / 4 + 20))
    else
        code=$?
        [ "$code" -eq 137 ] || fail "the import ended with $code: $(cat "$work/err")"
        killed=$((killed + 1))
        span=$((span * 9 / 8))
    fi
    if [ $((round % 3)) -eq 0 ]; then
        rm -f "$cas/index.sqlite" "$cas/index.sqlite-wal" "$cas/index.sqlite-shm"
        lost=$((lost + 1))
    fi
    "$bin" cas verify --cas-dir "$cas" >"$work/out" 2>&1 || fail "verify found: $(cat "$work/out")"
done

"$bin" cas import "$tree" --prefix p --cas-dir "$cas" >/dev/null || fail "the last import failed"
"$bin" cas verify --cas-dir "$cas" >"$work/out" 2>&1 || fail "verify found: $(cat "$work/out")"
objects=0
"$bin" cas list --json --cas-dir "$cas" >"$work/list"
while read -r line; do
    path=$(echo "$line" | sed 's/.*"path":"p\/\([^"]*\)".*/\1/')
    hash=$(echo "$line" | sed 's/.*"hash":"\([0-9a-f]*\)".*/\1/')
    cmp -s "$tree/$path" "$cas/b3/$(echo "$hash" | cut -c1-2)/$hash" || fail "$path is not its file"
    objects=$((objects + 1))
done <"$work/list"
files=$(find "$tree" -type f | wc -l)
[ "$objects" -eq "$files" ] || fail "$objects objects of $files files"
echo "kill-import: $rounds rounds: $killed killed, $ended ended before, index lost $lost times; $objects objects whole"
