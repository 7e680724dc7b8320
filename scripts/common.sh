# shellcheck shell=bash
# What the scripts beside this file share; sourced, with `set -eu` already in force.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck disable=SC2034
repository=$(dirname "$here")
# Engines, unpacked packages and image tarballs live here, outside the repository, so that clones share them.
engine_home=${PYSYS_ORCH_ENGINE_DIR:-${XDG_CACHE_HOME:-~/.cache}/pysys_orch/engine}
case $engine_home in /*) ;; *) engine_home=$PWD/$engine_home ;; esac

say() { echo "$(basename "$0"): $*" >&2; }
die() {
    say "$*"
    exit 1
}

# os FIELD: a value of /etc/os-release, empty where there is none
os() {
    # shellcheck source=/dev/null
    (. /etc/os-release 2>/dev/null && eval "echo \"\${$1:-}\"") || true
}

# locked NAME: holds a lock of that name until this process ends; what is started detached closes fd 9.
locked() {
    mkdir -p "$engine_home" || die "keeps engines and images in $engine_home: set PYSYS_ORCH_ENGINE_DIR to a folder that you can write"
    exec 9>"$engine_home/$1.lock"
    flock -n 9 || {
        say "waiting for another process that holds $engine_home/$1.lock"
        flock 9
    }
}

# quietly COMMAND...: its output is shown only if it fails
quietly() {
    local output
    output=$("$@" 2>&1) || {
        echo "$output" >&2
        return 1
    }
}

# apt_install PACKAGE...
apt_install() {
    [ "$(id -u)" = 0 ] || die "needs the packages: $*. Install them, or run this as root."
    local install=(apt-get -qq -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "$@")
    say "installs $*"
    export DEBIAN_FRONTEND=noninteractive
    # Fresh machines have no package lists, old ones have stale lists: the first try fails on both.
    "${install[@]}" >/dev/null 2>&1 9>&- || {
        quietly apt-get -qq update && quietly "${install[@]}" 9>&-
    } || die "could not install: $* (apt-get's message is above)"
}

# debian_mirror: the first archive that this machine's apt uses, in either format of its sources
debian_mirror() {
    local mirror
    mirror=${DEBIAN_MIRROR:-$(cat /etc/apt/sources.list.d/{debian,ubuntu}.sources /etc/apt/sources.list 2>/dev/null |
        sed -nE 's/^URIs: *([^ ]+).*/\1/p; s/^deb +(\[[^]]*\] *)?([^ ]+).*/\2/p' | head -n 1)}
    [ -n "$mirror" ] || die "found no archive in /etc/apt: set DEBIAN_MIRROR to the URL of one"
    echo "$mirror"
}

# unpack_debian SUITE ROOT PACKAGE...: unpacks packages of any suite into ROOT without installing them;
# apt checks them against the signed lists, which are kept apart from the machine's own.
unpack_debian() {
    local suite=$1 root=$2 components=main
    shift 2
    [ "$(os ID)" != ubuntu ] || components="main universe"
    local apt=$engine_home/apt/$suite
    local options=(-o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null
        -o "Dir::State::Lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o APT::Get::List-Cleanup=0
        -o APT::Sandbox::User= -qq)
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
    say "fetches $* of $suite"
    if [ -z "$(find "$apt/updated" -mmin -60 2>/dev/null)" ]; then
        echo "deb $(debian_mirror) $suite $components" >"$apt/sources.list"
        quietly apt-get "${options[@]}" update || die "could not read the package lists of $suite from $(debian_mirror)"
        touch "$apt/updated"
    fi
    rm -rf "$root.new" "$root.debs"
    mkdir -p "$root.new" "$root.debs"
    (cd "$root.debs" && quietly apt-get "${options[@]}" download "${@/%//$suite}") ||
        die "could not fetch $* of $suite from $(debian_mirror)"
    local deb
    for deb in "$root.debs"/*.deb; do dpkg -x "$deb" "$root.new"; done
    # The rename comes last: a ROOT that exists is complete.
    rm -rf "$root" "$root.debs"
    mv "$root.new" "$root"
}

# find_python: prints a Python that is new enough
find_python() {
    local python
    for python in python3 python3.13 python3.12 python3.11; do
        "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$python" && return
    done
    return 1
}

# use_venv: makes the development environment where it is absent or older than setup.cfg, and puts it on PATH
use_venv() {
    local venv=${PYSYS_ORCH_VENV:-$repository/.venv} python stamp
    locked venv
    if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        python=$(find_python) || {
            command -v apt-get >/dev/null || die "needs Python 3.11 or newer on the PATH"
            apt_install python3
            python=$(find_python) || die "needs Python 3.11 or newer on the PATH; this system's is $(python3 --version)"
        }
        say "makes $venv with $("$python" --version)"
        # Debian's Python comes without what makes environments.
        quietly "$python" -m venv --clear "$venv" || {
            apt_install python3-venv
            quietly "$python" -m venv --clear "$venv"
        } || die "$python could not make the environment $venv"
    fi
    stamp=$(cat "$repository/setup.cfg" "$repository/pyproject.toml" | sha256sum)
    if [ "$(cat "$venv/installed" 2>/dev/null)" != "$stamp" ]; then
        say "installs pysys_orch and its development tools into $venv"
        quietly "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable "${repository}[dev]" ||
            die "pip could not install pysys_orch: see above"
        echo "$stamp" >"$venv/installed"
    fi
    exec 9>&-
    export PATH="$venv/bin:$PATH"
}

# start_engine RELEASE: starts one unless one can be reached, and notes in `started` what has to be stopped again
started=()
start_engine() {
    ! "$here/engine" env --release "$1" >/dev/null 2>&1 || return 0
    "$here/engine" start --release "$1" >/dev/null && started+=("$1")
}

# enter_engine RELEASE: sets the environment to an engine that runs and has the images
enter_engine() {
    local exports
    exports=$("$here/engine" env --release "$1") && eval "$exports" && "$here/images"
}

# enter_lab: sets the environment to the manager of the lab
enter_lab() {
    local exports
    exports=$("$here/lab" env) && eval "$exports"
}

# inside COMMAND...: runs it where the engine's published ports can be reached
inside() {
    if [ -n "${PYSYS_ORCH_NETNS:-}" ]; then nsenter "--net=/var/run/netns/$PYSYS_ORCH_NETNS" -- "$@"; else "$@"; fi
}
