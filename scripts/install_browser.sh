#!/bin/sh
# See to a Chromium for the tests that look at pages in a real browser. It comes from the system's own packages, so only root
# installs it (a container, a CI machine); for anybody else this says the command.
#
#   scripts/install_browser.sh
#
# Always exits 0: those tests are skipped without one, and say so.
set -u

found() {
    for name in chromium chromium-browser google-chrome; do
        command -v "$name" >/dev/null 2>&1 && return 0
    done
    return 1
}

off() {
    echo "browser: off. $1"
    echo "browser: the tests of pages in a real browser are skipped; to have them: sudo apt-get install chromium"
    exit 0
}

found && exit 0
[ "$(id -u)" -eq 0 ] || off "No Chromium is installed, and only root can install it."
command -v apt-get >/dev/null 2>&1 || off "No Chromium is installed, and this system has no apt-get."
echo "browser: installing chromium from the system's packages"
apt-get -qq update >/dev/null 2>&1
DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends -y chromium >/dev/null 2>&1
found || off "apt-get could not install chromium."
