# Run once, when a data folder was created: accept only encrypted connections with a password.
cp /certificates/server.crt /certificates/server.key "$PGDATA"
chmod 600 "$PGDATA/server.key"
printf "ssl = on\nssl_min_protocol_version = 'TLSv1.2'\n" >>"$PGDATA/postgresql.conf"
printf 'local all all trust\nhostssl all all all scram-sha-256\n' >"$PGDATA/pg_hba.conf"
