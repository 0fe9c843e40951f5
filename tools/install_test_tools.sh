#!/usr/bin/env bash
# Installs what the tests run against, from Debian's packages: kcat, tmux, a Java compiler and runtime, Maven, and what
# makes faults: strace, libfaketime; a browser without a window; PostgreSQL. Nothing when all is there.
set -euo pipefail
declare -A package=([kcat]=kcat [tmux]=tmux [javac]=default-jdk-headless [mvn]=maven [strace]=strace [faketime]=faketime
  [chromium]=chromium [chromedriver]=chromium-driver [pg_ctlcluster]=postgresql)
missing=()
for command in kcat tmux javac mvn strace faketime chromium chromedriver pg_ctlcluster; do
  command -v "$command" >/dev/null 2>&1 || missing+=("${package[$command]}")
done
[ ${#missing[@]} -eq 0 ] && exit 0
if ! command -v apt-get >/dev/null 2>&1; then
  echo "The tests need ${missing[*]}, and this machine has no apt-get: install them with your package manager." >&2
  exit 1
fi
as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)
echo "installing ${missing[*]}"
"${as_root[@]}" apt-get update -qq
DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
