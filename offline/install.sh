#!/usr/bin/env bash
# Installs evalsuite from this folder, without any network. Nothing is installed before every file is what it was when
# the folder was made.
#
#   ./install.sh [--into FOLDER] [--python PYTHON] [--expect DIGEST]
#
#   --into     the virtual environment to make            (default: ./evalsuite-env)
#   --python   a Python of the version the wheels are for (default: the first one found)
#   --expect   the digest of SHA256SUMS, as it was told by whoever made the folder
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
into=$PWD/evalsuite-env
python=""
expect=""
say() { printf '%s\n' "$*" >&2; }
stop() { say "Nothing was installed: $*"; exit 1; }
usage() { sed -n '2,10s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }

while [ $# -gt 0 ]; do
  case $1 in
    --into | --python | --expect)
      [ $# -gt 1 ] || usage
      declare "${1#--}=$2"
      shift 2
      ;;
    *) usage ;;
  esac
done

# 1. The files, before anything of them is used.
cd "$here"
[ -f SHA256SUMS ] || stop "SHA256SUMS is missing"
found=$(sha256sum SHA256SUMS | cut -d' ' -f1)
[ -z "$expect" ] || [ "$expect" = "$found" ] || stop "SHA256SUMS has the digest $found, not the expected one"
sha256sum --check --strict --quiet SHA256SUMS >&2 || stop "the files named above are missing or were changed"
listed=$(cut -c67- SHA256SUMS | LC_ALL=C sort)
there=$(find . -type f ! -path ./SHA256SUMS | sed 's,^\./,,' | LC_ALL=C sort)
extra=$(LC_ALL=C comm -13 <(printf '%s\n' "$listed") <(printf '%s\n' "$there"))
[ -z "$extra" ] || stop "these files do not belong here: $(tr '\n' ' ' <<<"$extra")"

# 2. A Python of the version the wheels were made for.
version=$(cat python-version.txt)
fits() { "$1" -c "import sys, venv, ensurepip; sys.exit('%d.%d' % sys.version_info[:2] != '$version')" >/dev/null 2>&1; }
if [ -n "$python" ]; then
  fits "$python" || stop "$python is not Python $version with venv"
else
  for candidate in "python$version" python3 python; do
    if command -v "$candidate" >/dev/null 2>&1 && fits "$candidate"; then
      python=$(command -v "$candidate")
      break
    fi
  done
  [ -n "$python" ] || stop "no Python $version with venv was found; say where one is with --python"
fi
[ ! -e "$into" ] || stop "$into exists already; choose another folder with --into"

# 3. The environment. pip checks every wheel against the hash in requirements.txt once more.
say "Installing into $into"
"$python" -m venv "$into"
PIP_CONFIG_FILE=/dev/null "$into/bin/python" -m pip install --quiet --no-index --find-links "$here/wheels" \
  --no-deps --require-hashes --only-binary :all: --disable-pip-version-check -r requirements.txt ||
  { rm -rf "$into"; stop "pip refused a wheel"; }
"$into/bin/python" -m pip check >&2 || { rm -rf "$into"; stop "the wheels do not fit each other"; }

# 4. What cannot come as a wheel.
if ! "$into/bin/evalsuite" doctor >&2; then
  say "Installed, but something is missing above. The libraries of text layout come with the operating system:"
  say "  Debian, Ubuntu: libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 libfontconfig1   (and bubblewrap)"
  say "  Red Hat:        pango harfbuzz fontconfig                                             (and bubblewrap)"
  exit 3
fi
say "Ready: $into/bin/evalsuite"
