#!/bin/bash
# Plain Debian 12 roots, to try in them what is shipped:
#
#   tests/packaging/root.sh make FOLDER                       a fresh root there, in place of one that is there
#   tests/packaging/root.sh run [--network] FOLDER COMMAND…   a command in it, as root; COMMAND is found by the root's PATH
#   tests/packaging/root.sh remove FOLDER                     away with it
#
# A root is debootstrap's minbase, kept as a tarball in build/packaging (or CHATHUB_ROOTS) for thirty days, with the
# Debian sources of the apt that runs here. A command sees nothing of this machine: it has processes and mounts of its
# own, which end with it, however it ends, and loopback alone. --network gives it the machine's network, which is for apt;
# what apt gets is kept in build/packaging/archives, so that a second run downloads little.
# Standard input is the command's; files go in and out by FOLDER.
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
release=bookworm
cache=${CHATHUB_ROOTS:-$here/../../build/packaging}
mark=.chathub-root # in what may be removed

usage() {
    sed -n '3,6s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
}

fail() {
    echo "tests/packaging/root.sh: $*" >&2
    exit 1
}

# apt's sources, one `URI SUITE ORIGIN` a line.
sources() {
    # shellcheck disable=SC2016 # apt fills them in
    apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(ORIGIN) $(COMPONENT)' 'Created-By: Packages' |
        sed -n 's/ main$//p' | sort -u
}

# Those of the release; on another release the mirror that it comes from has this one, too.
release_sources() {
    local found
    found=$(sources | awk -v of="$release" '$2 ~ "^" of "(-updates|-security)?$" && $3 ~ "^Debian" {print $1, $2}')
    if [[ -z $found ]]; then
        found=$(sources | awk -v of="$release" '$3 == "Debian" {print $1, of; exit}')
    fi
    [[ $found ]] || fail "apt knows no Debian mirror here; apt-get update, or see its sources.list"
    echo "$found"
}

# In mounts of its own, so that debootstrap's end with it.
bootstrap() {
    local root=$1 mirror
    mirror=$(release_sources | awk -v of="$release" '$2 == of {print $1; exit}')
    [[ $mirror ]] || fail "apt has no source for $release itself"
    unshare --mount --propagation private --pid --fork --kill-child --mount-proc \
        debootstrap --variant=minbase "$release" "$root" "$mirror" >"$cache/debootstrap.log" 2>&1 ||
        fail "debootstrap failed; all of it is in $cache/debootstrap.log; its end: $(tail -n 5 "$cache/debootstrap.log")"
    release_sources | sed 's/\(.*\)/deb \1 main/' >"$root/etc/apt/sources.list"
    # Proxies and the like, without what other packages have apt fetch besides.
    apt-config dump Acquire | grep -v '^Acquire::IndexTargets' >"$root/etc/apt/apt.conf.d/50acquire"
    rm -f "$root"/var/cache/apt/archives/*.deb
    echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/unsafe-io" # roots are thrown away
    touch "$root/$mark"
    run network "$root" apt-get -qq update
}

# The tarball's name on standard output; it is made if it is missing or old.
tarball() {
    local kept root
    kept=$cache/$release-$(dpkg --print-architecture).tar
    mkdir -p "$cache"
    exec 9>"$cache/lock"
    flock 9
    if [[ -z $(find "$kept" -mtime -30 2>/dev/null) ]]; then
        root=$(mktemp -d "$cache/bootstrap.XXXXXX")
        # shellcheck disable=SC2064 # the folder of now
        trap "rm -rf --one-file-system '$root'" EXIT
        chmod 755 "$root"
        bootstrap "$root"
        tar --numeric-owner -C "$root" -cf "$kept.new" .
        mv "$kept.new" "$kept"
    fi
    exec 9>&-
    echo "$kept"
}

remove() {
    [[ -e $1 ]] || return 0
    [[ -e $1/$mark ]] || fail "$1 is no root that this script made; it stays"
    rm -rf --one-file-system -- "$1"
}

make() {
    local kept
    kept=$(tarball)
    remove "$1"
    mkdir -p "$1"
    tar --numeric-owner -C "$1" -xf "$kept"
    run network "$1" apt-get -qq update
}

# What runs as process 1 of the namespaces: mounts, then the command as a child, since process 1 gets no signals.
read -r -d '' inside <<'I' || true
set -eu
network=$1 root=$2 archives=$3
shift 3
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount -t tmpfs -o nosuid,nodev,mode=755 tmpfs "$root/run"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
mount -t tmpfs -o nosuid,nodev tmpfs "$root/dev/shm"
if [ "$network" ]; then
    mount --bind "$archives" "$root/var/cache/apt/archives"
    cp /etc/hosts /etc/resolv.conf "$root/etc/"
else
    ip link set lo up
    printf '127.0.0.1 localhost\n::1 localhost\n' >"$root/etc/hosts"
fi
env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
    DEBIAN_FRONTEND=noninteractive chroot "$root" "$@"
I

# run network|'' FOLDER COMMAND…
run() {
    local network=$1 root archives=$cache/archives spaces=(--mount --propagation private --pid --fork --kill-child)
    root=$(realpath -e "$2")
    shift 2
    [[ -e $root/$mark ]] || fail "$root is no root that this script made"
    mkdir -p "$archives"
    if [[ $network ]]; then
        # One apt at a time can have the archives.
        exec 8>"$cache/archives.lock"
        flock 8
    else
        spaces+=(--net)
    fi
    unshare "${spaces[@]}" /bin/bash -c "$inside" inside "$network" "$root" "$(realpath "$archives")" "$@"
}

[[ $# -ge 2 ]] || usage
if [[ $(id -u) != 0 ]]; then fail "only root can make and enter a root"; fi
command=$1
shift
case $command in
make | remove)
    [[ $# == 1 && $1 != -* ]] || usage
    "$command" "$1"
    ;;
run)
    network=
    if [[ $1 == --network ]]; then
        network=network
        shift
    fi
    [[ $# -ge 2 && $1 != -* ]] || usage
    run "$network" "$@"
    ;;
*) usage ;;
esac
