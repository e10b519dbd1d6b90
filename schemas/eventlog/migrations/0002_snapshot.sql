-- States of large assignments, so that a handler need not read all their events. ../schema.sql explains it.
-- depends: 0001_baseline

create table snapshot (
    stream            bigint primary key,
    version           integer not null,
    form              bytea not null,
    last_event        bytea not null,
    state             bytea not null,
    texts             bytea not null,
    large_event_bytes bigint not null,
    checksum          bytea not null,
    made_at           timestamptz not null default clock_timestamp()
);
alter table snapshot alter column state set storage external;
comment on table snapshot is
    'States of assignments with many events, as handlers have read them from the log. Not part of the log: handlers'
    ' replace rows, and the owner may delete all of them at any time.';
comment on column snapshot.form is 'A hash of the code that made it: other code does not read it.';
comment on column snapshot.last_event is
    'A hash of the event of this version: a log that has another event there does not use it.';
comment on column snapshot.texts is
    'Comments and rubric assessments by student, encrypted with the keys that encrypt them in events.';
comment on column snapshot.large_event_bytes is
    'Characters of the large events that it was made of: readers estimate the memory of a state with them.';
comment on column snapshot.checksum is 'A hash of all that is read of the row: a damaged row is not used.';
grant select, insert, update on snapshot to moderation_writer;
