#!/bin/sh
# Installs what building and testing epsim needs, where it is missing: Debian and Ubuntu packages,
# as root or through sudo. On another system, prints what to install.
set -eu
packages="make gcc libc6-dev pkg-config git libgsl-dev libyaml-dev libjansson-dev libcsv-dev zlib1g-dev check gnuplot-nox libopenblas-serial-dev libopenmpi-dev openmpi-bin"

if ! command -v dpkg-query >/dev/null 2>&1; then
    echo "deps: not a Debian or Ubuntu system; install the equivalents of: $packages" >&2
    exit 0
fi
missing=""
for package in $packages; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    case "$status" in
    installed*) ;;
    *) missing="$missing $package" ;;
    esac
done
# Another gnuplot, compiler or pkg-config of the same name serves as well.
command -v gnuplot >/dev/null 2>&1 && missing=$(echo "$missing" | sed 's/ gnuplot-nox//')
command -v pkg-config >/dev/null 2>&1 && missing=$(echo "$missing" | sed 's/ pkg-config//')
[ -n "$missing" ] || exit 0

sudo=""
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "deps: neither root nor sudo; ask an administrator for: apt-get install$missing" >&2
        exit 3
    fi
    sudo="sudo"
fi
echo "deps: installing$missing" >&2
$sudo apt-get update -qq
# shellcheck disable=SC2086
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
