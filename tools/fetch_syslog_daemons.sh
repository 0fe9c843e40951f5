#!/usr/bin/env bash
# Unpacks rsyslog and syslog-ng from Debian's packages: fetch_syslog_daemons.sh DIR. They are not installed: Debian lets
# only one of them be on a system, and installing one would replace the log daemon of the machine. Tests run what is
# unpacked as processes of their own, with config files and ports of their own.
set -euo pipefail
directory=${1:?directory}
[ -e "$directory/.complete" ] && exit 0
if ! command -v apt-get >/dev/null 2>&1; then
  echo "rsyslog and syslog-ng come from Debian's packages, and this machine has no apt-get" >&2
  exit 1
fi
mkdir -p "$directory/packages"
directory=$(cd "$directory" && pwd)
as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)
echo "fetching rsyslog and syslog-ng"
"${as_root[@]}" apt-get update -qq
for daemon in "rsyslog rsyslog-openssl" syslog-ng-core; do
  # What is said to be installed comes again: its files may be of use to nobody but this machine's own daemon.
  # shellcheck disable=SC2086
  packages=$(apt-get install -qq --reinstall --no-install-recommends --print-uris $daemon | awk '{print $2}')
  for package in $packages; do
    (cd "$directory/packages" && apt-get download -qq -o APT::Sandbox::User=root "$(sed -E 's/^([^_]+)_.*/\1/' <<<"$package")")
  done
done
for package in "$directory"/packages/*.deb; do
  dpkg -x "$package" "$directory"
done
touch "$directory/.complete"
