#!/bin/sh
# Installs what `make demo`, `make test` or `make bench` needs and this machine
# lacks, and says what and why. Knows the Debian and Ubuntu family (apt-get) and
# the Fedora and RHEL family (dnf). Starts no service and creates no cluster: the
# tests and the demo run servers of their own.
#
#   tests/install.sh demo|test|bench           look, then install
#   tests/install.sh --as-root PACKAGE...      the part that needs root
set -eu

say() { echo "install: $*"; }
die() {
	echo "install: error: $1" >&2
	if [ $# -gt 1 ]; then echo "install: hint: $2" >&2; fi
	exit 1
}

family() {
	if command -v apt-get >/dev/null 2>&1; then
		echo debian
	elif command -v dnf >/dev/null 2>&1; then
		echo fedora
	else
		echo unknown
	fi
}

# server_program NAME: is it where distributions put a PostgreSQL server?
server_program() {
	for dir in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/local/pgsql/bin; do
		if [ -x "$dir/$1" ]; then return 0; fi
	done
	command -v "$1" >/dev/null 2>&1
}

system_program() { PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null 2>&1; }

packages=
# need DEBIAN-PACKAGE FEDORA-PACKAGE REASON: notes the one for this family.
need() {
	case $(family) in
	debian) package=$1 ;;
	fedora) package=$2 ;;
	*) die "$3 is missing, and this is neither a Debian nor a Fedora kind of system" "install it by hand, then run this again" ;;
	esac
	case " $packages " in *" $package "*) return 0 ;; esac
	say "will install $package: $3"
	packages="$packages $package"
}

look() {
	command -v go >/dev/null 2>&1 ||
		die "no Go compiler was found" "install Go 1.26 or later from https://go.dev/dl/ and put its bin directory on PATH"
	for program in initdb postgres pg_ctl; do
		server_program $program || need postgresql postgresql-server "the PostgreSQL server ($program)"
	done
	case $1 in
	test) look_test ;;
	bench) look_bench ;;
	esac
}

# The peers that shipping, restoring and copying are compared with.
look_bench() {
	server_program pgbench || need postgresql-contrib postgresql-contrib "writes the WAL that is shipped (pgbench)"
	system_program sshd || need openssh-server openssh-server "a real sshd to ship through"
	system_program ssh || need openssh-client openssh-clients "the ssh client of rsync and pgbackrest"
	system_program rsync || need rsync rsync "to compare with: 2warm ships with it"
	system_program pgbackrest || need pgbackrest pgbackrest "to compare with"
	server_program pg_basebackup || need postgresql-client postgresql-server "to compare with (pg_basebackup)"
	for program in zstd lz4; do
		system_program $program || need $program $program "unpacks archived segments, to compare them with their source ($program)"
	done
	look_repmgr
}

# repmgr is packaged for each version of the server; where there is no package the
# bench leaves it out, and says so.
look_repmgr() {
	if server_program repmgr || [ "$(family)" != debian ]; then return 0; fi
	for dir in /usr/lib/postgresql/*/bin; do
		version=$(basename "$(dirname "$dir")")
	done
	if [ -n "$(apt-cache policy "postgresql-$version-repmgr" 2>/dev/null)" ]; then
		need "postgresql-$version-repmgr" "" "to compare with: switchovers of a streaming pair"
	fi
}

look_test() {
	server_program pgbench || need postgresql-contrib postgresql-contrib "the PostgreSQL load generator (pgbench)"
	for program in psql pg_waldump pg_controldata pg_verifybackup; do
		server_program $program || need postgresql-client postgresql "PostgreSQL's own tools, to compare with ($program)"
	done
	system_program sshd || need openssh-server openssh-server "a real sshd for the tests with whole clusters"
	system_program ssh || need openssh-client openssh-clients "the ssh client, to compare with"
	for program in zstd lz4; do
		system_program $program || need $program $program "unpacks archived segments, to compare them with their source ($program)"
	done
	system_program strace || need strace strace "shows that files are flushed before they are acknowledged"
	system_program mkfs.ext4 || need e2fsprogs e2fsprogs "a file system on a thin volume, which is full only when it is flushed (mkfs.ext4)"
	system_program mkfs.xfs || need xfsprogs xfsprogs "a file system with reflinks, to copy within (mkfs.xfs)"
	system_program ip || need iproute2 iproute "addresses and namespaces for the test nodes"
	system_program setpriv || need util-linux util-linux "runs test servers as an ordinary user (setpriv)"
	command -v node >/dev/null 2>&1 || need nodejs nodejs "unpacks the prebuilt servers of other versions (node)"
	command -v npm >/dev/null 2>&1 || need npm npm "fetches the prebuilt servers of other versions, PostgreSQL 10 to 18"
	command -v "$(go env CC)" >/dev/null 2>&1 || need gcc gcc "the race detector of go test -race (a C compiler)"
	[ -e /usr/include/stdlib.h ] || need libc6-dev glibc-devel "the race detector of go test -race (C headers)"
}

# Debian's packages start services and create a first cluster. Neither is
# wanted here, and both settings are taken away again afterwards.
install_debian() {
	export DEBIAN_FRONTEND=noninteractive
	policy=/usr/sbin/policy-rc.d
	nocluster=/etc/postgresql-common/createcluster.d/warmrun-tests.conf
	if [ ! -e $policy ]; then
		trap 'rm -f $policy $nocluster' EXIT
		printf '#!/bin/sh\nexit 101\n' >$policy
		chmod 755 $policy
	else
		trap 'rm -f $nocluster' EXIT
	fi
	apt-get update -q
	case " $* " in *" postgresql "*)
		apt-get install -q -y --no-install-recommends postgresql-common
		mkdir -p "$(dirname $nocluster)"
		echo 'create_main_cluster = false' >$nocluster
		;;
	esac
	apt-get install -q -y --no-install-recommends "$@"
}

install_as_root() {
	case $(family) in
	debian) install_debian "$@" ;;
	fedora) dnf install -q -y "$@" ;;
	esac
}

case "${1:-}" in
--as-root)
	shift
	install_as_root "$@" </dev/null
	;;
demo | test | bench)
	look "$1"
	if [ -z "$packages" ]; then
		say "nothing is missing for make $1"
		exit 0
	fi
	# $packages is a list of words on purpose.
	# shellcheck disable=SC2086
	if [ "$(id -u)" = 0 ]; then
		sh "$0" --as-root $packages
	elif sudo -n true 2>/dev/null; then
		sudo -n sh "$0" --as-root $packages
	else
		die "installing needs root, and sudo asks for a password" "type: sudo sh $0 --as-root$packages"
	fi
	packages=
	look "$1"
	[ -z "$packages" ] || die "still missing after the installation:$packages"
	;;
*)
	die "what for?" "tests/install.sh demo, test or bench"
	;;
esac
