# Sourced by scripts: installs what is missing, from Debian alone. Needs root or sudo only if something is.

# The packages that a build needs; llhttp is a library in newer releases, and C sources in Debian 12.
build_packages=(gcc libc6-dev meson ninja-build pkg-config libuv1-dev libwslay-dev libjansson-dev libsqlite3-dev libutf8proc-dev
    uthash-dev libmd-dev libyaml-dev libnats-dev libedit-dev)
test_packages=(check clang libclang-rt-14-dev python3 python3-pytest python3-websockets node-ws netcat-openbsd binutils
    strace chromium nats-server nftables iproute2 mypy python3-venv python3-pip python3-setuptools python3-wheel
    python3-editorconfig python3-yaml python3-seccomp systemd shellcheck)
# Any npm will do for the tests' own packages.
command -v npm >/dev/null || test_packages+=(nodejs npm)
# What tests/bench/speed.py compares with, and draws with; not installed by itself.
bench_packages=(golang-go golang-github-gorilla-websocket-dev nodejs node-ws gnuplot-nox)
ci_packages=(clang-format clang-tidy cppcheck valgrind abigail-tools cmake g++ scdoc mandoc man-db doxygen)
# For .ci/run --long alone: Debian packages, and roots to try them in.
long_packages=(debootstrap dpkg-dev lintian blhc)

is_installed() {
    [[ $(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

llhttp_package() {
    if is_installed node-llhttp || ! apt-cache show libllhttp-dev >/dev/null 2>&1; then
        echo node-llhttp
    else
        echo libllhttp-dev
    fi
}

# Runs apt-get as root: install PACKAGE…
apt_get() {
    if [[ $(id -u) == 0 ]]; then
        DEBIAN_FRONTEND=noninteractive apt-get -y "$@"
    else
        sudo DEBIAN_FRONTEND=noninteractive apt-get -y "$@"
    fi
}

# tell_missing PACKAGE…: what to do for a person who may become root.
tell_missing() {
    echo "Some packages are missing. Run this as root, then start again:" >&2
    echo "  apt-get update && apt-get install -y --no-install-recommends $*" >&2
}

# install_missing PACKAGE…
install_missing() {
    local package missing=()
    for package in "$@"; do
        is_installed "$package" || missing+=("$package")
    done
    if ! is_installed node-llhttp && ! is_installed libllhttp-dev; then
        missing+=("$(llhttp_package)")
    fi
    ((${#missing[@]})) || return 0
    if ! command -v apt-get >/dev/null; then
        echo "These Debian packages are missing, and there is no apt-get here: ${missing[*]}" >&2
        return 1
    fi
    if [[ $(id -u) != 0 ]] && ! command -v sudo >/dev/null; then
        tell_missing "${missing[@]}"
        return 1
    fi
    echo "Installing: ${missing[*]}" >&2
    local lists=(/var/lib/apt/lists/*_Packages*)
    [[ -e ${lists[0]} ]] || apt_get update >&2 || true # the installation tells
    apt_get install --no-install-recommends "${missing[@]}" >&2 && return 0
    apt_get update >&2 && apt_get install --no-install-recommends "${missing[@]}" >&2 && return 0
    tell_missing "${missing[@]}"
    return 1
}

# Debian's own meson, which runs on Debian's own Python; another may come first in PATH.
meson=meson
[[ -x /usr/bin/meson ]] && meson=/usr/bin/meson

# configure FOLDER OPTION…: sets up a build folder unless it is one already.
configure() {
    local folder=$1
    shift
    [[ -f $folder/build.ninja ]] && return 0
    rm -rf "$folder"
    "$meson" setup "$folder" "$@" >"$folder.setup.log" 2>&1 && rm -f "$folder.setup.log" && return 0
    cat "$folder.setup.log" >&2
    return 1
}
