-- What the master key is checked with before keys are wrapped. ../schema.sql explains it.
-- depends: 0008_drop_event_sis_source_id

create table master_key_check (
    value    bytea not null check (octet_length(value) = 40),
    made_at  timestamptz not null default clock_timestamp()
);
comment on table master_key_check is
    'One row once there is a master key: a known key as the master key wraps it. Never updated.';
create unique index master_key_check_single_row on master_key_check ((true));

create trigger append_only before update or delete or truncate on master_key_check
    for each statement execute function refuse_change();
alter table master_key_check enable always trigger append_only;
grant select on master_key_check to moderation_reader, moderation_writer;
grant insert on master_key_check to moderation_writer;
