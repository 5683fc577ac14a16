#!/bin/sh
# System packages semcast can use. Installs what is missing where that is possible (Debian/Ubuntu as
# root); otherwise says in one line what is missing and what goes without it.
missing=""
command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1 || missing="chromium"
ldconfig -p 2>/dev/null | grep -q libOSMesa || missing="$missing libosmesa6"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "Installing system packages:$missing"
    (apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing) >/dev/null 2>&1 && exit 0
fi
case "$missing" in *chromium*) echo "Not found: Chromium. Tests marked 'browser' are left out; the demo works in any browser." ;; esac
case "$missing" in *libosmesa6*) echo "Not found: libosmesa6 (OSMesa). Tests that render simulated scenes are left out; the bundled samples work." ;; esac
exit 0
