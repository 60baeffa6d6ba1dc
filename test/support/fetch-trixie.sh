#!/bin/sh
# Gets Docker Compose v2 and dockerd 26.1 (Debian trixie) into a directory of their own, for the end-to-end tests.
#
#   fetch-trixie.sh DIR [MIRROR]
#
# Afterwards: DIR/docker-compose and DIR/dockerd (use the machine's own containerd and runc with it).
# Nothing of the system's apt configuration, package lists or cache is changed. MIRROR defaults to the Debian
# mirror this machine already uses. Exits 0 at once when both files are there; needs apt-get and dpkg-deb.
set -eu

dir=${1:?usage: fetch-trixie.sh DIR [MIRROR]}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
if [ -x "$dir/docker-compose" ] && [ -x "$dir/dockerd" ]; then
  exit 0
fi

# The first Debian archive among the machine's own sources (not the security one: it has no full suite).
own_mirror() {
  apt-get indextargets --format '$(ORIGIN)|$(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
    sed -n 's/^Debian|//p' | grep -v -e security | head -n 1
}
configured_mirror() {
  cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
    grep -v '^ *#' | grep -o '[a-z+]*://[^ ]*/debian/\{0,1\}\( \|$\)' | head -n 1
}
mirror=${2:-}
[ -n "$mirror" ] || mirror=$(own_mirror)
[ -n "$mirror" ] || mirror=$(configured_mirror)
mirror=$(printf '%s' "$mirror" | tr -d ' ')
if [ -z "$mirror" ]; then
  echo "fetch-trixie.sh: no Debian mirror in this machine's apt configuration; name one: fetch-trixie.sh DIR MIRROR" >&2
  exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# apt drops to its own user for downloads; let it write here.
chmod 755 "$work"
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/deb" "$work/tree"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" >"$work/sources.list"

apt() {
  apt-get -q -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=/dev/null \
    -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root \
    -o Acquire::Languages=none -o APT::Update::Error-Mode=any "$@"
}
apt update >&2
cd "$work/deb"
apt download docker-compose docker.io >&2
for package in ./*.deb; do
  dpkg-deb -x "$package" "$work/tree"
done
install -m 0755 "$work/tree/usr/libexec/docker/cli-plugins/docker-compose" "$dir/docker-compose"
install -m 0755 "$work/tree/usr/sbin/dockerd" "$dir/dockerd"
"$dir/docker-compose" version >&2
