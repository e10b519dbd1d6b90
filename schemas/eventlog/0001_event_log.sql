-- The event log: the only truth. Append-only; every number that leaves the service is drawn in append().

create table shard (
    shard smallint primary key
);
comment on table shard is 'One row per shard: locked by writers in ascending order, never updated.';

create table source (
    number    smallint generated always as identity primary key,
    topic     text not null,
    reason    text not null,
    opened_at timestamptz not null default clock_timestamp()
);
comment on table source is 'One life of a commands topic: a topic made again starts its offsets anew and is a new source.';
create index source_topic on source (topic, number);

create sequence stream_number;

create table stream (
    number       bigint primary key,
    root_account bigint not null,
    course       bigint not null,
    assignment   bigint,
    shard        smallint not null references shard
);
comment on table stream is 'A course (assignment is null) or an assignment. Inserted once, never updated.';
create unique index stream_assignment on stream (root_account, assignment) where assignment is not null;
create unique index stream_course on stream (root_account, course) where assignment is null;

create table event (
    shard        smallint not null,
    position     bigint not null,
    live_number  bigint,
    stream       bigint not null,
    version      integer not null,
    type         text not null,
    type_version smallint not null,
    data         json not null,
    metadata     json not null,
    recorded_at  timestamptz not null,
    primary key (shard, position),
    unique (stream, version)
);
comment on column event.data is 'The value on the events topic, byte for byte (json, not jsonb).';
comment on column event.metadata is 'What is never published as a value: ids of the published records, cause, the stream''s secret.';
create unique index event_live_number on event (shard, live_number) where live_number is not null;

create table verdict (
    shard        smallint not null,
    number       bigint not null,
    root_account bigint not null,
    command_id   uuid not null,
    first        boolean not null,
    content_hash bytea not null,
    source       smallint not null,
    partition    integer not null,
    "offset"     bigint not null,
    append_time  bigint not null,
    key          bytea,
    body         json not null,
    metadata     json not null,
    primary key (shard, number)
);
comment on column verdict.root_account is '0 where the command''s root account could not be read.';
comment on column verdict.append_time is 'The record''s log-append time, milliseconds since 1970.';
create unique index verdict_command on verdict (command_id, root_account) where first;
create unique index verdict_place on verdict (source, partition, "offset");

create table dead_letter (
    shard       smallint not null,
    number      bigint not null,
    source      smallint not null,
    partition   integer not null,
    "offset"    bigint not null,
    append_time bigint not null,
    key         bytea,
    value       bytea,
    headers     bytea not null,
    reason      text not null,
    message     text not null,
    recorded_at timestamptz not null,
    primary key (shard, number)
);
comment on column dead_letter.headers is 'JSON list of [name, value] pairs, both base64 (value may be null), without authorization.';
create unique index dead_letter_place on dead_letter (source, partition, "offset");

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% on % refused: the log is append-only', tg_op, tg_table_name using errcode = 'restrict_violation';
end
$$;

create trigger append_only before update or delete or truncate on shard for each statement execute function refuse_change();
create trigger append_only before update or delete or truncate on source for each statement execute function refuse_change();
create trigger append_only before update or delete or truncate on stream for each statement execute function refuse_change();
create trigger append_only before update or delete or truncate on event for each statement execute function refuse_change();
create trigger append_only before update or delete or truncate on verdict for each statement execute function refuse_change();
create trigger append_only before update or delete or truncate on dead_letter for each statement execute function refuse_change();
-- ALWAYS: a plain trigger is skipped under session_replication_role = replica.
alter table shard enable always trigger append_only;
alter table source enable always trigger append_only;
alter table stream enable always trigger append_only;
alter table event enable always trigger append_only;
alter table verdict enable always trigger append_only;
alter table dead_letter enable always trigger append_only;
