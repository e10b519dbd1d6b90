# Run once, when a data folder was created: let a standby stream, and let every commit wait for it.
echo "host replication $POSTGRES_USER all scram-sha-256" >>"$PGDATA/pg_hba.conf"
echo "synchronous_standby_names = 'standby'" >>"$PGDATA/postgresql.auto.conf"
