#!/bin/sh
# Shows point-in-time recovery with pgBackRest as docs/backups.md describes it, in a temporary folder: a server is made,
# backed up in full, written to before and after a moment, destroyed, and restored to that moment.
# Needs pgbackrest and PostgreSQL's server programs (PG_BIN, else Debian's newest, else PATH). As root it runs as nobody.
set -eu

programs=${PG_BIN:-$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)}
[ -n "$programs" ] && PATH=$programs:$PATH
command -v pgbackrest >/dev/null || { echo "pgbackrest is not installed (apt-get install pgbackrest)" >&2; exit 1; }
command -v initdb >/dev/null || { echo "no initdb: set PG_BIN to the folder of PostgreSQL's server programs" >&2; exit 1; }

if [ "$(id -u)" = 0 ]; then
    chmod a+rx "$(dirname "$0")" 2>/dev/null || true
    exec setpriv --reuid=nobody --regid=nogroup --clear-groups env HOME=/tmp PG_BIN="$programs" sh -s <"$0"
fi

place=$(mktemp -d)
port=$((20000 + $$ % 20000))
trap 'pg_ctl -D "$place/data" -m immediate stop >/dev/null 2>&1 || true; rm -rf "$place"' EXIT
mkdir "$place/repo" "$place/spool" "$place/log" "$place/lock"
cat >"$place/pgbackrest.conf" <<CONF
[global]
repo1-path=$place/repo
repo1-cipher-type=aes-256-cbc
repo1-cipher-pass=$(head -c 32 /dev/urandom | base64)
repo1-retention-full=2
start-fast=y
log-path=$place/log
lock-path=$place/lock
spool-path=$place/spool
log-level-console=warn
[cashflow]
pg1-path=$place/data
pg1-port=$port
pg1-socket-path=$place
pg1-user=cashflow
CONF
backrest() { pgbackrest --config="$place/pgbackrest.conf" --stanza=cashflow "$@"; }
sql() { psql -h "$place" -p "$port" -U cashflow -d postgres -XqAtc "$1"; }

initdb -D "$place/data" -U cashflow -A trust -E UTF8 >/dev/null
cat >>"$place/data/postgresql.conf" <<CONF
port = $port
listen_addresses = ''
unix_socket_directories = '$place'
archive_mode = on
archive_timeout = 60
archive_command = 'pgbackrest --config=$place/pgbackrest.conf --stanza=cashflow archive-push %p'
CONF
pg_ctl -D "$place/data" -w -l "$place/log/postgres.log" start >/dev/null
backrest stanza-create
backrest check
sql "CREATE TABLE run (name text, at timestamptz DEFAULT clock_timestamp())"
backrest --type=full backup
sql "INSERT INTO run VALUES ('before the moment')"
sleep 1
moment=$(sql "SELECT clock_timestamp()")
sleep 1
sql "INSERT INTO run VALUES ('after the moment')"
sql "SELECT pg_switch_wal()" >/dev/null
backrest check

pg_ctl -D "$place/data" -m immediate stop >/dev/null
rm -rf "$place/data"
mkdir -m 700 "$place/data"
backrest --type=time --target="$moment" --target-action=promote restore
pg_ctl -D "$place/data" -w -l "$place/log/postgres.log" start >/dev/null
until [ "$(sql 'SELECT pg_is_in_recovery()')" = f ]; do sleep 1; done
found=$(sql "SELECT string_agg(name, ', ') FROM run")
[ "$found" = "before the moment" ] || { echo "restored: '$found'; expected 'before the moment'" >&2; exit 1; }
echo "restored to $moment: what was written before is there, what was written after is not"
