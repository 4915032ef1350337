# Shared by nspawn and vm: where caches lie, how a Debian root is made once, how a run cleans up. Sourced, never run.
#
# Exit codes of both drivers: the job's own code; 77 when this machine cannot run them (the reason is the last line,
# after `SKIP: `); 99 when the driver itself broke.
# shellcheck shell=bash

cache=${XDG_CACHE_HOME:-$HOME/.cache}/left4me-tests
# What a test system holds: systemd as on a server, and what the suites use.
system_packages=systemd,systemd-sysv,dbus,udev,kmod,iproute2,procps,curl,jq,ca-certificates
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

skip() { echo "SKIP: $*"; exit 77; }
broke() { echo "$(basename "$0"): $*" >&2; exit 99; }

# need PROGRAM PACKAGE: installs the Debian package when the program is missing.
need() {
    command -v "$1" >/dev/null && return
    command -v apt-get >/dev/null || skip "$1 is missing, and so is apt-get to install it"
    (
        flock 9
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2" >&2 ||
            { apt-get update -qq >&2 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2" >&2; }
    ) 9>"$cache/apt.lock" >/dev/null || skip "$1 is missing, and the package $2 could not be installed"
}

# debian_root FOLDER SUITE PACKAGES [mmdebstrap option...]: a Debian tree, made under another name and then renamed, so
# that one which exists is whole. Two that want the same wait for each other.
debian_root() {
    local folder=$1 suite=$2 packages=$3
    shift 3
    (
        flock 9
        [ -d "$folder" ] && exit 0
        rm -rf "$folder.new"
        mmdebstrap -q --variant=minbase --include="$packages" --skip=output/dev "$@" \
            "$suite" "$folder.new" "${LEFT4ME_TESTS_MIRROR:-http://deb.debian.org/debian}" >&2 || exit 1
        mkdir -p "$folder.new/dev"
        mv "$folder.new" "$folder"
    ) 9>"$folder.lock" || skip "a Debian $suite root could not be made (is the mirror reachable?)"
}

[ "$(id -u)" = 0 ] || skip "only root can boot a test system"
mkdir -p "$cache"
need flock util-linux
need mmdebstrap mmdebstrap
need pgrep procps
