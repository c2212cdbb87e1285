#!/bin/sh
# Installs what the tests need from Debian and pip cannot give, or only the packages named as arguments. Says nothing and
# is quick when all is there.
set -eu

wanted="$*"
missing=""
need() { # PACKAGE COMMAND...: the package is missing unless the command succeeds
    package=$1
    shift
    case " ${wanted:-$package} " in *" $package "*) ;; *) return 0 ;; esac
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}

need python3-venv python3 -c "import ensurepip, venv"
need qemu-system-x86 command -v qemu-system-x86_64   # boots real kernels, in software
need busybox-static command -v busybox               # their user space, beside Python
need file command -v file                            # damo asks it what a recording is
need openssl command -v openssl                      # puts a password on a key
need chromium command -v chromium                    # shows the live page
need chromium-driver command -v chromedriver         # through which tests drive it
need systemd command -v systemd-analyze             # reads the unit; nothing of it is run
need apparmor command -v apparmor_parser             # reads the profile; nothing is loaded
need buildah command -v buildah                      # builds the image, without an engine that runs
need mmdebstrap command -v mmdebstrap                # on a base made of Debian's packages
need debian-archive-keyring test -e /usr/share/keyrings/debian-archive-keyring.gpg

[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "The tests need Debian or Ubuntu: apt-get is not here, and missing are:$missing" >&2
    exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "The tests need packages that are not installed. Run as root: apt-get install$missing" >&2
    exit 1
fi
apt-get update -q
# shellcheck disable=SC2086 # one word per package
DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing
