#!/usr/bin/env bash
# Installs the named Debian packages that are missing. Exit status 1, with the reason, where that cannot be done.
set -u
missing=()
for package in "$@"; do
  dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0
command -v apt-get >/dev/null || { echo "apt-get is not here; missing: ${missing[*]}" >&2; exit 1; }
if [ "$(id -u)" -eq 0 ]; then sudo=(); elif sudo -n true 2>/dev/null; then sudo=(sudo -n); else
  echo "Not root and no password-less sudo; please run: sudo apt-get install ${missing[*]}" >&2
  exit 1
fi
echo "Installing Debian packages: ${missing[*]}"
# RUNLEVEL=1 keeps the packages from starting their system services: the tests start their own, on loopback
log=$(mktemp)
trap 'rm -f "$log"' EXIT
"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 bash -c \
  'apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@"' apt "${missing[@]}" >"$log" 2>&1 && exit 0
tail -n 15 "$log" >&2
echo "apt-get could not install: ${missing[*]}" >&2
exit 1
