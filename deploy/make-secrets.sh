#!/bin/sh
# Write the secrets that compose.yaml mounts, once: those that are there already stay as they are.
# The folder is yours alone; the files in it may be read by all, because the service reads them under another number.
set -eu
folder=${1:-$(dirname "$0")/secrets}
umask 077
mkdir -p "$folder"
chmod 0700 "$folder"

random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }
keep() {
  [ ! -e "$folder/$1" ] || return 0
  cat >"$folder/.$1.part"
  chmod 0444 "$folder/.$1.part"
  mv "$folder/.$1.part" "$folder/$1"
  echo "wrote $folder/$1"
}

random | keep bootstrap_key
random | keep s3_secret_key
keep s3_identities.json <<END
{"identities": [{"name": "live-memory",
  "credentials": [{"accessKey": "live-memory", "secretKey": "$(cat "$folder/s3_secret_key")"}],
  "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}
END
