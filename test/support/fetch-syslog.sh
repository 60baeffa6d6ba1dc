#!/bin/sh
# Unpacks rsyslog and syslog-ng (the machine's own Debian release) into a directory, for the end-to-end tests.
#
#   fetch-syslog.sh DIR
#
# They are not installed: the two exclude each other as packages, and neither is to run as a service of the machine.
# Afterwards: DIR/usr/sbin/rsyslogd and DIR/usr/sbin/syslog-ng, with what they need that the machine does not have.
# Exits 0 at once when both are there; needs apt-get with package lists, and dpkg-deb.
set -eu

dir=${1:?usage: fetch-syslog.sh DIR}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
if [ -x "$dir/usr/sbin/rsyslogd" ] && [ -x "$dir/usr/sbin/syslog-ng" ]; then
  exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-cache show rsyslog-gnutls syslog-ng-core >/dev/null 2>&1 || apt-get -q update >&2
for packages in 'rsyslog rsyslog-gnutls' 'syslog-ng-core'; do
  # shellcheck disable=SC2086
  apt-get -q -s --no-install-recommends install $packages | sed -n 's/^Inst \([^ ]*\).*/\1/p' >>list
done
# A package that is installed already would not be in that list; its files are where they belong.
# shellcheck disable=SC2046
apt-get -q -o APT::Sandbox::User=root download $(sort -u list) >&2
for package in ./*.deb; do
  dpkg-deb -x "$package" "$dir"
done
[ -x "$dir/usr/sbin/rsyslogd" ] && [ -x "$dir/usr/sbin/syslog-ng" ]
