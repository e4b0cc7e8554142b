#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# tools/setup.sh COMMAND [ARGUMENT...]
#
# From a machine that has only Debian, git and make to one that can run the
# Python package in tools/holdfast, which does the rest. When nothing is missing
# this costs a few milliseconds.
set -eu

fail() {
	printf 'holdfast: %s\n' "$1" >&2
	exit 1
}

tools=$(cd "$(dirname "$0")" && pwd)
cache=${HOLDFAST_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/holdfast}
case $cache in
/*) ;;
*) cache=$PWD/$cache ;;
esac
export HOLDFAST_CACHE="$cache"

# One environment for each set of requirements, so that two checkouts of
# different age can share a cache.
sum=$(sha256sum "$tools/requirements.txt" | cut -c 1-16)
environment=$cache/python/$sum

start() {
	PYTHONPATH=$tools PYTHONDONTWRITEBYTECODE=1 \
		exec "$environment/bin/python" -m holdfast "$@"
}

# The test of the link catches a Python that was upgraded to another version.
if [ -e "$environment/complete" ] && [ -x "$environment/bin/python" ]; then
	start "$@"
fi

# What follows happens once for each machine.

[ "$(uname -m)" = x86_64 ] ||
	fail "this is a $(uname -m) machine; Holdfast's tests run on x86-64 only."

if ! command -v apt-get >/dev/null || ! [ -e /etc/debian_version ]; then
	fail "this is not Debian (no apt-get): install what tools/holdfast/packages.py lists by hand on Debian 12 or 13, or run this in a Debian container."
fi

mkdir -p "$cache" 2>/dev/null ||
	fail "cannot create the cache directory $cache: make it writable, or set HOLDFAST_CACHE to another place."

needed=6
free=$(df -Pk "$cache" | awk 'NR == 2 { print int($4 / 1024) }')
[ "$free" -ge $((needed * 1024)) ] ||
	fail "too little disk space in $cache: $needed GiB are needed for kernel sources and builds, $free MiB are free; make room, or set HOLDFAST_CACHE to a roomier place."

exec 9>"$cache/python.lock"
if ! flock -n 9; then
	echo "holdfast: waiting for another run that sets up $cache"
	flock 9
	[ ! -e "$environment/complete" ] || start "$@"
fi

log=$cache/setup.log
run() {
	title=$1
	shift
	echo "holdfast: $title"
	"$@" >"$log" 2>&1 </dev/null || {
		tail -n 15 "$log" >&2
		! grep -q -i -e 'name resolution' -e 'failure resolving' -e unreachable "$log" ||
			fail "the network cannot be reached ($title): connect this machine or set its proxy, and run the same command again (log: $log)."
		fail "$title failed: check the network and run the same command again (log: $log)."
	}
}

missing=
for package in python3 python3-venv ca-certificates; do
	dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed ||
		missing="$missing $package"
done
if [ -n "$missing" ]; then
	as_root=
	if [ "$(id -u)" -ne 0 ]; then
		as_root='sudo -n'
		sudo -n true 2>/dev/null ||
			fail "installing$missing needs root: run this as root, or with sudo that asks no password, or run 'apt-get install$missing' yourself."
	fi
	# shellcheck disable=SC2086 # lists of words, both of them
	{
		run "updating the package lists" \
			$as_root env DEBIAN_FRONTEND=noninteractive apt-get -q \
			-o DPkg::Lock::Timeout=600 update
		run "installing$missing" \
			$as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y \
			-o DPkg::Lock::Timeout=600 install --no-install-recommends $missing
	}
fi

/usr/bin/python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
	fail "$(/usr/bin/python3 --version) is older than 3.11: Holdfast needs Debian 12 or 13."

rm -rf "$environment"
run "creating the Python environment" /usr/bin/python3 -m venv "$environment"
run "installing the Python packages of tools/requirements.txt" \
	"$environment/bin/python" -m pip install --quiet --disable-pip-version-check \
	--no-input --retries 1 --require-hashes --only-binary :all: -r "$tools/requirements.txt"
: >"$environment/complete"
exec 9>&-
start "$@"
