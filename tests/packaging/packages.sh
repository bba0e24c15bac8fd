#!/bin/bash
# The Debian packages of what is committed, in plain Debian 12 roots: they are built there with their build dependencies
# alone and without a network, lintian and blhc read them, each test of docs/packaging/debian/tests is run in a root that
# has no more than it asks for, and what was installed goes away again. What a step says is in build/packaging/work.
#
#   tests/packaging/packages.sh [--built] [TEST…]     all tests, or those that are named; --built: of the packages
#                                                     that were built last
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
top=$(realpath "$here/../..")
work=$top/build/packaging/work
root=$work/root
packages=$work/packages

built=
if [[ ${1-} == --built ]]; then
    built=1
    shift
fi
if [[ ${1-} == -* ]]; then
    echo "usage: tests/packaging/packages.sh [--built] [TEST…]" >&2
    exit 2
fi

in_root() {
    "$here/root.sh" run "$root" "$@"
}

# With the network, for apt.
apt_in_root() {
    "$here/root.sh" run --network "$root" apt-get -q -y --no-install-recommends "$@"
}

fresh_root() {
    "$here/root.sh" make "$root"
}

fail() {
    echo "$*" >&2
    return 1
}

# step NAME COMMAND…
step() {
    local name=$1 log=$work/$1.log begun=$SECONDS
    shift
    # In the background, since errexit does not hold in a condition.
    (set -e; "$@") >"$log" 2>&1 &
    if wait "$!"; then
        echo "ok      $name ($((SECONDS - begun)) s)"
    else
        echo "FAILED  $name ($((SECONDS - begun)) s); all of it is in $log; its end:"
        tail -n 40 "$log"
        exit 1
    fi
}

source_package() {
    "$top/docs/packaging/build-debian" --source "$work/source"
}

build_dependencies() {
    fresh_root
    mkdir "$root/build"
    cp "$work"/source/chathub_* "$root/build/"
    apt_in_root build-dep "/build/$(basename "$work"/source/*.dsc)"
}

build() {
    in_root sh -c 'cd /build && dpkg-source -x chathub_*.dsc tree && cd tree && dpkg-buildpackage -us -uc'
    mkdir -p "$packages"
    find "$root/build" -maxdepth 1 -type f -exec cp {} "$packages/" \;
}

# What is no mistake here is said where it is, in docs/packaging/debian.
lint() {
    lintian --allow-root --fail-on error,warning --tag-display-limit 0 --info "$packages"/*.changes
}

# But for -fPIE at links, which meson leaves out beside -pie, since compilation has it; lintian looks at what comes of it.
hardening() {
    blhc --all --ignore-flag -fPIE "$work/build.log"
}

# Our packages as a repository, so that apt finds them as it finds others.
offer() {
    mkdir -p "$root/packages"
    cp "$packages"/*.deb "$root/packages/"
    (cd "$root/packages" && dpkg-scanpackages --multiversion . >Packages)
    echo 'deb [trusted=yes] file:/packages ./' >"$root/etc/apt/sources.list.d/packages.list"
    apt_in_root update
}

# tests: `NAME DEPENDENCY…` a line, of tests/control.
tests() {
    awk -v RS= '{
        gsub(/\n /, " "); tests = depends = $0
        sub(/.*Tests: */, "", tests); sub(/\n.*/, "", tests)
        sub(/.*Depends: */, "", depends); sub(/\n.*/, "", depends); gsub(/,|:any/, " ", depends)
        print tests, depends
    }' "$top/docs/packaging/debian/tests/control"
}

# try NAME DEPENDENCY…
try() {
    local name=$1
    shift
    fresh_root
    offer
    apt_in_root install "$@"
    cp -r "$work/source/chathub-"* "$root/tree"
    in_root sh -c "mkdir /tmp/test && cd /tree && AUTOPKGTEST_TMP=/tmp/test timeout 300 debian/tests/$name"
}

# All files, users and groups, but for what apt and dpkg keep for themselves.
all_there_is() {
    (cd "$root" && find . -xdev \( -path ./packages -o -path ./tmp -o -path ./var/cache -o -path ./var/log \
        -o -path ./var/lib/apt -o -path ./var/lib/dpkg \) -prune -o -print)
    sed 's/^/user /' "$root/etc/passwd"
    sed 's/^/group /' "$root/etc/group"
}

# What there is beyond the file $1.
beyond() {
    all_there_is | sort | comm -13 "$1" -
}

# By the files, as a person would; then away: settings stay until they are purged, and then nothing.
installed_and_removed() {
    local ours=(chatd libchathub0 libchathub-dev python3-chathub) files left
    fresh_root
    mkdir "$root/packages"
    cp "$packages"/*.deb "$root/packages/"
    rm "$root"/packages/*-dbgsym_*
    all_there_is | sort >"$work/before"
    mapfile -t files < <(cd "$root" && ls packages/*.deb)
    apt_in_root install "${files[@]/#//}"
    in_root chatd --check-config
    apt_in_root remove --auto-remove "${ours[@]}"
    # Settings, and systemd's note which units were enabled.
    left=$(beyond "$work/before" | grep chat | grep -v -e '^\./etc/' -e '^\./var/lib/systemd/deb-systemd-helper-' || true)
    [[ -z $left ]] || fail "left when the packages were removed:" "$left"
    in_root apt-get -q -y purge '~c'
    left=$(beyond "$work/before")
    [[ -z $left ]] || fail "left when the packages were purged:" "$left"
}

mkdir -p "$work"
trap '"$here/root.sh" remove "$root"' EXIT
if [[ ! $built ]]; then
    rm -rf "$work/source" "$packages"
    step source source_package
    step build-dependencies build_dependencies
    step build build
    step lintian lint
    step blhc hardening
fi
while read -r name depends; do
    [[ $# == 0 || " $* " == *" $name "* ]] || continue
    # shellcheck disable=SC2086 # a list
    step "$name" try "$name" $depends </dev/null
done < <(tests)
step installed-and-removed installed_and_removed
