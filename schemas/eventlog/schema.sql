-- The event log's schema as it is today: all of it, to be read from top to bottom.
--
-- No database is made from this file: `moderated-grading admin migrate` applies the files of migrations/. A test
-- compares the two, so every migration comes with its change here.
--
-- PostgreSQL holds the only truth: handlers append to it, relays publish from it, all else is derived. Three rules:
--
--   1. Append-only. Triggers refuse every change of a row to everyone; grants refuse it to the processes as well. Only
--      encryption keys are deleted, which erases what they encrypted, and snapshots replaced, which are no part of it.
--   2. The numbers that leave the service (event.position, event.live_number, verdict.number, dead_letter.number) are
--      dense from 1, per shard and in commit order: append() checks under the shard's lock that a batch continues them.
--      A reader that asks for the numbers after its last one misses nothing. Sequences and transaction ids would hide
--      rows from it: a transaction that commits late may have drawn a lower number than one that was read before.
--   3. No row is updated for each batch. What was assigned last is read from the ends of indexes: a counter leaves a
--      dead row behind each batch, which slows all writers down while an old snapshot is open.

-- Roles ---------------------------------------------------------------------------------------------------------------
-- One per kind of process, without login; a process logs in as DATABASE_URL's user and sets its role. Handlers have
-- moderation_writer, relay and gateway moderation_reader, the console moderation_operator. Operators who see one root
-- account only have moderation_bound_operator.

do $$
declare
    name text;
    -- Since PostgreSQL 16 a creator who is no superuser (managed services offer none) becomes a member of the role who
    -- may grant it, but not set it; the processes must set it. Earlier versions do not know the privilege SET.
    privilege constant text :=
        case when current_setting('server_version_num')::integer >= 160000 then 'SET' else 'MEMBER' end;
begin
    foreach name in array array['moderation_writer', 'moderation_reader', 'moderation_operator',
                                'moderation_bound_operator'] loop
        if not exists (select from pg_roles where rolname = name) then
            begin
                execute format('create role %I nologin', name);
            exception when duplicate_object or unique_violation then
                -- Roles belong to the server: a migration of another database has just created it.
            end;
        end if;
        if not pg_has_role(current_user, name, privilege) then
            execute format('grant %I to %I', name, current_user);
        end if;
    end loop;
exception when insufficient_privilege then
    raise exception '% may not create or grant the role %; nothing was changed', current_user, name
        using hint = 'As an administrator, create moderation_writer, moderation_reader, moderation_operator and'
                     ' moderation_bound_operator (nologin) and grant them to this user; then migrate again.';
end
$$;

-- Append-only ---------------------------------------------------------------------------------------------------------
-- Every table of the log has this trigger. It is enabled ALWAYS: session_replication_role = replica skips plain triggers.

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% on % refused: the log is append-only', tg_op, tg_table_name using errcode = 'restrict_violation';
end
$$;

-- installation --------------------------------------------------------------------------------------------------------
-- Ties topics to this log: the relay's progress record carries the id. The number of shards is chosen once, by
-- `moderated-grading admin migrate --shards N`, which sets moderation.shards for its session; every process reads it.

create table installation (
    id           uuid primary key default gen_random_uuid(),
    shards       smallint not null check (shards between 1 and 1000),
    installed_at timestamptz not null default clock_timestamp()
);
comment on table installation is 'One row: the identity of this log, and its number of shards. Never updated.';
create unique index installation_single_row on installation ((true));

create trigger append_only before update or delete or truncate on installation
    for each statement execute function refuse_change();
alter table installation enable always trigger append_only;
grant select on installation to moderation_reader, moderation_writer, moderation_operator;
insert into installation (shards)
values (coalesce(nullif(current_setting('moderation.shards', true), ''), '12')::smallint);

-- shard ---------------------------------------------------------------------------------------------------------------
-- The unit of ordering and locking: a course with all its assignments is in one shard, and partition = shard on every
-- topic. The rows exist to be locked, in ascending order.

create table shard (
    shard smallint primary key
);
comment on table shard is 'One row per shard: writers lock it, in ascending order; it is never updated.';

create trigger append_only before update or delete or truncate on shard
    for each statement execute function refuse_change();
alter table shard enable always trigger append_only;
grant select on shard to moderation_reader, moderation_writer, moderation_operator;
-- SELECT … FOR UPDATE requires the right to update; the trigger refuses the update itself.
grant update on shard to moderation_writer;
insert into shard select generate_series(0, i.shards - 1) from installation i;

-- source --------------------------------------------------------------------------------------------------------------
-- Offsets identify a record only within one incarnation of the commands topic: a topic that is deleted and created
-- again starts at 0. The newest row of a topic is its current incarnation.

create table source (
    number     smallint generated always as identity primary key,
    topic      text not null,
    reason     text not null,
    opened_at  timestamptz not null default clock_timestamp(),
    beginnings bigint[] not null default '{}'
);
comment on table source is 'One incarnation of a commands topic: a topic that was recreated is a new source.';
comment on column source.beginnings is
    'First offset of each partition, from 0 on, when it was accepted: what was removed before is not missed. Empty: 0.';
create index source_topic on source (topic, number);

create trigger append_only before update or delete or truncate on source
    for each statement execute function refuse_change();
alter table source enable always trigger append_only;
grant select on source to moderation_reader, moderation_writer, moderation_operator;
grant insert on source to moderation_writer;

-- stream --------------------------------------------------------------------------------------------------------------
-- The two aggregates. An assignment's id is unique in its root account, whatever its course. Numbers are reserved from
-- the sequence before a batch is decided, because ids of the service are derived from them; gaps are harmless.

create sequence stream_number;
grant usage on sequence stream_number to moderation_writer;

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
create index stream_course_assignments on stream (root_account, course, assignment) where assignment is not null;

create trigger append_only before update or delete or truncate on stream
    for each statement execute function refuse_change();
alter table stream enable always trigger append_only;
grant select on stream to moderation_reader, moderation_writer, moderation_operator;
grant insert on stream to moderation_writer;

-- event ---------------------------------------------------------------------------------------------------------------
-- What happened. `position` is the number on the events topic; `live_number` the one on live-events and caliper, null
-- for events that are not published there. `version` counts within the stream.

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
comment on column event.data is
    'The value on the events topic, byte for byte (which jsonb would not keep); what is personal is null there, and follows'
    ' encrypted as the last key, "sealed".';
comment on column event.metadata is
    'Never published as such: ids of the published records, the cause, the stream''s secret.';
create unique index event_live_number on event (shard, live_number) where live_number is not null;
-- Clients of Canvas's API also name a course by its SIS id (sis_course_id:…).
-- The hash: an index of the text could not hold ids of more than 2,704 bytes.
create index event_sis_source_id_hash on event
    (hashtextextended(data #>> '{payload,sis_source_id,1}', 0)) where type = 'course_updated';
-- Verification asks which courses have erased people.
create index event_person_erased on event (stream) where type = 'person_erased';
-- The scheduler asks what is due, and whether it is still in force. Texts of one form, in the order of times.
create index event_publish_at on event ((data #>> '{payload,publish_at}') collate "C")
    where type = 'publication_scheduled';
create index event_schedule on event (stream, version)
    where type in ('publication_scheduled', 'publication_schedule_cancelled', 'grades_posted');
-- The console asks which assignments a user moderates or audits: as the final grader (an update has a pair, of which the
-- second is the new one), the newest assignments first, or by a role in the account; and then for the settings of these.
create index event_final_grader on event
    ((coalesce(data #>> '{payload,final_grader_id,1}', data #>> '{payload,final_grader_id}')), stream)
    where type in ('assignment_created', 'assignment_updated');
create index event_assignment_settings on event (stream, version)
    where type in ('assignment_created', 'assignment_updated');
create function admin_user_ids(data json) returns text[] language sql immutable strict parallel safe
    return (select array_agg(a.admin ->> 'user_id') from json_array_elements(data #> '{payload,admins}') a (admin));
comment on function admin_user_ids is 'The ids of the users whose roles in the account an admins_updated event states.';
create index event_admins on event using gin (admin_user_ids(data)) where type = 'admins_updated';

create trigger append_only before update or delete or truncate on event
    for each statement execute function refuse_change();
alter table event enable always trigger append_only;
grant select on event to moderation_reader, moderation_writer, moderation_operator;
grant insert on event to moderation_writer;

-- decided_command, verdict_body, verdict ------------------------------------------------------------------------------
-- The answer to every command record that has a readable command id, in two tables. decided_command is narrow and kept
-- for ever: a record's row there (or its dead letter) is the only evidence that it was processed; (source, partition,
-- offset) is unique, so the database refuses to process a record twice. Of the rows of one command id at most one is
-- `first`: the one that settled it, and that later records with the same id are answered with. verdict_body holds what
-- is published, by month: months that are older than verdicts are kept can be detached and archived, and a repeat of a
-- command whose verdict is archived is answered with command_expired.

create table decided_command (
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
    recorded_at  timestamptz not null,
    primary key (shard, number)
);
comment on table decided_command is
    'A record that has a verdict: its command id, its place, and the number of its verdict. Kept for ever.';
comment on column decided_command.root_account is '0 if the command''s root account could not be read.';
comment on column decided_command.append_time is 'When the broker appended the record, in milliseconds since 1970.';
-- command_id leads: until the first analyze, PostgreSQL plans the opposite order badly.
create unique index decided_command_id on decided_command (command_id, root_account) where first;
create unique index decided_command_place on decided_command (source, partition, "offset");

create trigger append_only before update or delete or truncate on decided_command
    for each statement execute function refuse_change();
alter table decided_command enable always trigger append_only;
grant select on decided_command to moderation_reader, moderation_writer, moderation_operator;
grant insert on decided_command to moderation_writer;

create table verdict_body (
    recorded_at timestamptz not null,
    shard       smallint not null,
    number      bigint not null,
    key         bytea,
    body        json not null,
    metadata    json not null,
    primary key (shard, number, recorded_at)
) partition by range (recorded_at);
comment on table verdict_body is 'Verdicts as they are published, by the month in which they were given (UTC).';
grant select on verdict_body to moderation_reader, moderation_writer, moderation_operator;
grant insert on verdict_body to moderation_writer;

create trigger append_only before update or delete or truncate on verdict_body
    for each statement execute function refuse_change();
alter table verdict_body enable always trigger append_only;

-- Triggers of a partitioned table for a statement do not act on a statement that names the partition: each partition
-- gets its own. Months are added ahead by migrations and by `moderated-grading admin archive`; what no month holds
-- goes to the default partition, so that an append never fails for want of one, and is sorted when months are added.

create function refuse_changes_of(partition regclass) returns void language plpgsql as $$
begin
    execute format('create trigger append_only before update or delete or truncate on %s'
                   ' for each statement execute function refuse_change()', partition);
    execute format('alter table %s enable always trigger append_only', partition);
end
$$;

create table verdict_body_default partition of verdict_body default;
do $$ begin perform refuse_changes_of('verdict_body_default'); end $$;

create function add_verdict_month(month date) returns void language plpgsql as $$
declare
    name constant text := to_char(month, '"verdict_body_"YYYY_MM');
begin
    if to_regclass(name) is null then
        execute format('create table %I partition of verdict_body for values from (%L) to (%L)', name,
                       month::timestamp at time zone 'UTC', (month + interval '1 month') at time zone 'UTC');
        perform refuse_changes_of(name);
    end if;
end
$$;

create function add_verdict_months(ahead integer) returns void language plpgsql as $$
declare
    this_month constant date := date_trunc('month', clock_timestamp() at time zone 'UTC');
begin
    if exists (select from verdict_body_default) then
        alter table verdict_body detach partition verdict_body_default;
        alter table verdict_body_default rename to verdict_body_unsorted;
        create table verdict_body_default partition of verdict_body default;
        perform refuse_changes_of('verdict_body_default');
        perform add_verdict_month(month)
        from (select distinct date_trunc('month', u.recorded_at at time zone 'UTC')::date
              from verdict_body_unsorted u) m(month);
        insert into verdict_body (recorded_at, shard, number, key, body, metadata)
        select u.recorded_at, u.shard, u.number, u.key, u.body, u.metadata from verdict_body_unsorted u;
        drop table verdict_body_unsorted;
    end if;
    perform add_verdict_month((this_month + make_interval(months => n))::date) from generate_series(0, ahead) n;
end
$$;
revoke execute on function refuse_changes_of, add_verdict_month, add_verdict_months from public;
do $$ begin perform add_verdict_months(12); end $$;

-- Reads one row of verdict_body for each row, from the partition of its month: queries that need no body read
-- decided_command.
create view verdict with (security_invoker = true) as
select c.shard, c.number, c.root_account, c.command_id, c.first, c.content_hash, c.source, c.partition, c."offset",
       c.append_time, c.recorded_at, b.key, b.body, b.metadata
from decided_command c
left join lateral (select v.key, v.body, v.metadata from verdict_body v
                   where v.shard = c.shard and v.number = c.number and v.recorded_at = c.recorded_at limit 1) b on true;
comment on view verdict is 'Decided commands with their verdicts; without, where the month is detached.';
grant select on verdict to moderation_reader, moderation_writer, moderation_operator;

-- dead_letter ---------------------------------------------------------------------------------------------------------
-- Records that have no readable command id, so that no verdict can be addressed to them: kept as they were received.

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
comment on column dead_letter.headers is
    'A JSON list of [name, value] pairs, both in base64 (value may be null), without authorization.';
create unique index dead_letter_place on dead_letter (source, partition, "offset");

create trigger append_only before update or delete or truncate on dead_letter
    for each statement execute function refuse_change();
alter table dead_letter enable always trigger append_only;
grant select on dead_letter to moderation_reader, moderation_writer, moderation_operator;
grant insert on dead_letter to moderation_writer;

-- heads(), watermark(): what was assigned and processed last ----------------------------------------------------------
-- Reads of one entry at the end of an index each.

create function heads(shards smallint[])
returns table (shard smallint, "position" bigint, live_number bigint, verdict_number bigint, dead_letter_number bigint)
language sql stable as $$
    select s,
           coalesce((select e.position from event e where e.shard = s order by e.position desc limit 1), 0),
           coalesce((select e.live_number from event e
                     where e.shard = s and e.live_number is not null order by e.live_number desc limit 1), 0),
           coalesce((select c.number from decided_command c where c.shard = s order by c.number desc limit 1), 0),
           coalesce((select d.number from dead_letter d where d.shard = s order by d.number desc limit 1), 0)
    from unnest(shards) s
$$;

-- The highest offset of a partition that was processed or accepted as lost, -1 if none was.
create function watermark(of_source smallint, of_partition integer) returns bigint
language sql stable as $$
    select greatest(
        coalesce((select c."offset" from decided_command c where c.source = of_source and c.partition = of_partition
                  order by c."offset" desc limit 1), -1),
        coalesce((select d."offset" from dead_letter d where d.source = of_source and d.partition = of_partition
                  order by d."offset" desc limit 1), -1),
        (select s.beginnings[of_partition + 1] - 1 from source s where s.number = of_source))
$$;

-- append() ------------------------------------------------------------------------------------------------------------
-- A batch is passed as arrays of rows, which costs the client half as much as an array per column.

create type shard_head as (shard smallint, "position" bigint, verdict_number bigint, dead_letter_number bigint);
create type stream_row as (number bigint, root_account bigint, course bigint, assignment bigint, shard smallint);
create type event_row as (shard smallint, "position" bigint, live boolean, stream bigint, version integer, type text,
                          data json, metadata json);
create type verdict_row as (shard smallint, number bigint, root_account bigint, command_id uuid, first boolean,
                            content_hash bytea, partition integer, "offset" bigint, append_time bigint, key bytea,
                            body json, metadata json);
create type dead_letter_row as (shard smallint, number bigint, partition integer, "offset" bigint, append_time bigint,
                                key bytea, value bytea, headers bytea, reason text, message text);

-- Appends one batch in one round trip: locks, compares, inserts, and decides nothing.
-- `seen` holds the heads on which the batch was decided, `watermarks` the watermark of each of `partitions`.
-- Returns false, having written nothing, if a head or a watermark is another one now: the caller reads what is new and
-- decides again. A watermark that is higher means that another writer processed records of the batch; one that is lower,
-- that a failover or restore lost records before the batch, which are processed again first. The comparison sees
-- everything that was committed before the locks were granted, because under READ COMMITTED each statement has a
-- snapshot of its own.
create function append(
    seen shard_head[], of_source smallint, partitions integer[], watermarks bigint[], at timestamptz,
    streams stream_row[], events event_row[], verdicts verdict_row[], dead_letters dead_letter_row[]
) returns boolean language plpgsql as $$
declare
    shards constant smallint[] := array(select k.shard from unnest(seen) k);
begin
    -- All writers lock in the same order, so that they wait for each other and never deadlock.
    perform 1 from shard s where s.shard = any(shards) order by s.shard for update;

    if exists (select from heads(shards) h join unnest(seen) k on k.shard = h.shard
               where (h.position, h.verdict_number, h.dead_letter_number)
                     <> (k.position, k.verdict_number, k.dead_letter_number))
       or exists (select from unnest(partitions, watermarks) k(p, w) where watermark(of_source, k.p) <> k.w)
    then
        return false;
    end if;

    insert into stream (number, root_account, course, assignment, shard)
    select s.number, s.root_account, s.course, s.assignment, s.shard from unnest(streams) s;

    if cardinality(events) > 0 then
        insert into event (shard, position, live_number, stream, version, type, type_version, data, metadata, recorded_at)
        -- Materialized: inlined, heads() is evaluated for each event, and each time skips all index entries that this
        -- statement has inserted. Appending 10,000 published grades then takes seconds.
        with h as materialized (select k.shard, k.live_number from heads(shards) k)
        select e.shard, e.position,
               case when e.live then h.live_number + count(*) filter (where e.live)
                    over (partition by e.shard order by e.position) end,
               e.stream, e.version, e.type, 1, e.data, e.metadata, at
        from unnest(events) e
        join h on h.shard = e.shard
        order by e.shard, e.position;
    end if;

    -- In the order of command ids: of two writers of the same ids one waits and then fails; neither deadlocks.
    insert into decided_command (shard, number, root_account, command_id, first, content_hash, source, partition,
                                 "offset", append_time, recorded_at)
    select v.shard, v.number, v.root_account, v.command_id, v.first, v.content_hash, of_source, v.partition, v."offset",
           v.append_time, at
    from unnest(verdicts) v
    order by v.command_id;

    insert into verdict_body (recorded_at, shard, number, key, body, metadata)
    select at, v.shard, v.number, v.key, v.body, v.metadata
    from unnest(verdicts) v;

    insert into dead_letter (shard, number, source, partition, "offset", append_time, key, value, headers, reason,
                             message, recorded_at)
    select d.shard, d.number, of_source, d.partition, d."offset", d.append_time, d.key, d.value, d.headers,
           d.reason, d.message, at
    from unnest(dead_letters) d;

    return true;
end
$$;

-- operator_action -----------------------------------------------------------------------------------------------------
-- The audit trail of operators: each action is inserted in the transaction that carries it out. The id is generated
-- with the form that asks for the action, so that a form submitted twice is one action.

create table operator_action (
    id           uuid primary key,
    kind         text not null check (kind in ('redrive', 'discard', 'reveal', 'replay', 'erase', 'export')),
    root_account bigint not null,
    user_id      bigint not null,
    reason       text not null check (length(btrim(reason)) between 1 and 1000),
    detail       json not null check (json_typeof(detail) = 'object' and detail::jsonb is not null),
    acted_at     timestamptz not null default clock_timestamp()
);
comment on table operator_action is 'Who did what, why and when.';
comment on column operator_action.detail is 'What was requested, as JSON without the contents of any record.';
create index operator_action_time on operator_action (acted_at);

create trigger append_only before update or delete or truncate on operator_action
    for each statement execute function refuse_change();
alter table operator_action enable always trigger append_only;
grant select on operator_action to moderation_operator, moderation_reader;
grant insert on operator_action to moderation_operator;

-- dead_letter_settled -------------------------------------------------------------------------------------------------
-- A dead letter is open until it has a row here; the primary key allows only one. `ordinal` numbers the dead letters of
-- an action from 0, in the order of their offsets: the order in which a redrive sends those of a partition.

create table dead_letter_settled (
    shard   smallint not null,
    number  bigint not null,
    action  uuid not null references operator_action,
    ordinal integer not null,
    primary key (shard, number),
    unique (action, ordinal),
    foreign key (shard, number) references dead_letter
);
comment on table dead_letter_settled is 'The action that redrove or discarded a dead letter; without a row it is open.';

create trigger append_only before update or delete or truncate on dead_letter_settled
    for each statement execute function refuse_change();
alter table dead_letter_settled enable always trigger append_only;
grant select on dead_letter_settled to moderation_operator, moderation_reader;
grant insert on dead_letter_settled to moderation_operator;

-- redrive -------------------------------------------------------------------------------------------------------------
-- How a redrive survives a crash without sending a record twice: a retry uses the same producer id, epoch and sequence
-- numbers, so that the broker deduplicates what it already has. Records that were sent but have no row in redriven yet
-- are searched for from `ends` on.

create table redrive (
    action         uuid primary key references operator_action,
    topic          text not null,
    producer_id    bigint not null,
    producer_epoch smallint not null,
    partitions     integer[] not null,
    ends           bigint[] not null
);
comment on table redrive is
    'The producer id and epoch of a redrive, and the end offset of each partition before it.';

create trigger append_only before update or delete or truncate on redrive
    for each statement execute function refuse_change();
alter table redrive enable always trigger append_only;
grant select on redrive to moderation_operator, moderation_reader;
grant insert on redrive to moderation_operator;

-- redriven ------------------------------------------------------------------------------------------------------------
-- Links a dead letter with the record that was sent for it; what has no row here is still to be sent.

create table redriven (
    action    uuid not null,
    ordinal   integer not null,
    partition integer not null,
    "offset"  bigint not null,
    primary key (action, ordinal),
    foreign key (action, ordinal) references dead_letter_settled (action, ordinal)
);
comment on table redriven is 'Partition and offset, on the commands topic, of a redriven record.';
create index redriven_place on redriven (partition, "offset");

create trigger append_only before update or delete or truncate on redriven
    for each statement execute function refuse_change();
alter table redriven enable always trigger append_only;
grant select on redriven to moderation_operator, moderation_reader;
grant insert on redriven to moderation_operator;

-- encryption_key ------------------------------------------------------------------------------------------------------
-- The keys that personal data is encrypted with: one for each person and course, one for each day (dead letters, and
-- what belongs to no known person). The only table from which rows are deleted: without its key, what was encrypted is
-- erased, in this database and in every backup that does not hold the key. Keys are never updated.

create table encryption_key (
    id           bigint primary key,
    root_account bigint,
    course       bigint,
    person       bigint,
    day          date unique,
    key          bytea not null check (octet_length(key) in (32, 40)),
    created_at   timestamptz not null default clock_timestamp(),
    unique (root_account, person, course),
    check (num_nulls(root_account, course, person) = case when day is null then 0 else 3 end)
);
comment on column encryption_key.id is 'Random; encrypted values name it.';
comment on column encryption_key.person is 'A user id; 0: an HTTP request without a known user.';
comment on column encryption_key.key is '32 bytes, or 40 if it is wrapped by the master key (RFC 3394).';
-- A deleted key is to leave the table's pages soon.
alter table encryption_key set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1);

create trigger refuse_change before update or truncate on encryption_key
    for each statement execute function refuse_change();
alter table encryption_key enable always trigger refuse_change;
grant select on encryption_key to moderation_reader, moderation_writer, moderation_operator;
grant insert, delete on encryption_key to moderation_writer;

-- master_key_check ----------------------------------------------------------------------------------------------------
-- A process with another master key, or none, would store keys that no other process can unwrap, or keys as they are.
-- Handlers and relays compare theirs at the start, handlers also before they store keys; the handler that stores the
-- first wrapped key writes the row in the same transaction.

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

-- access_record -------------------------------------------------------------------------------------------------------
-- Which operator read whose education records: pages of the console and commands of the command line. Who the database
-- knows is written by a trigger, not by the caller.

create table access_record (
    id            bigint generated always as identity primary key,
    accessed_at   timestamptz not null,
    database_user text not null,
    client        inet,
    process       text not null,
    root_account  bigint,
    user_id       bigint,
    what          text not null,
    target        json not null check (json_typeof(target) = 'object' and length(target::text) <= 2000
                                       and target::jsonb is not null),
    reason        text check (length(btrim(reason)) between 1 and 1000)
);
-- A target that the readers of the trail could not parse would hide all of it: jsonb refuses what json lets pass.
comment on table access_record is 'Who read what, when, from where and why.';
comment on column access_record.reason is 'Null: a page of the console, or an action, whose reason is in operator_action.';
comment on column access_record.client is 'The browser''s address, of a command the database client''s; null: a socket.';
comment on column access_record.user_id is 'Of the operator''s token; null: a command, which needs none.';

create function identify_reader() returns trigger language plpgsql as $$
begin
    new.accessed_at := clock_timestamp();
    new.database_user := session_user;
    new.client := coalesce(new.client, inet_client_addr());
    return new;
end
$$;
create trigger identify_reader before insert on access_record for each row execute function identify_reader();
alter table access_record enable always trigger identify_reader;
create index access_record_time on access_record (accessed_at);
create trigger append_only before update or delete or truncate on access_record
    for each statement execute function refuse_change();
alter table access_record enable always trigger append_only;
grant select on access_record to moderation_operator, moderation_reader;
grant insert on access_record to moderation_operator, moderation_reader;

-- snapshot ------------------------------------------------------------------------------------------------------------
-- A cache, not part of the log, and the only table whose rows are updated. A handler that has read an assignment's events from
-- the log writes its state here, and later reads the state and the events after it. The state holds no personal text.

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

-- Row-level security --------------------------------------------------------------------------------------------------
-- An operator's login may be bound to one root account (`moderated-grading admin bind-operator`). It then has one role,
-- moderation_bound_operator, which is shown the rows of that account. Dead letters, redrives and the keys of days
-- belong to no account: such an operator sees none. The roles of the processes see every row; a constant policy leaves
-- the plans of their queries as they are.

create table operator_binding (
    login        name primary key,
    root_account bigint not null check (root_account > 0),
    bound_at     timestamptz not null default clock_timestamp()
);
comment on table operator_binding is
    'Which root account a login of an operator is bound to. The owner of the database inserts and deletes rows.';

create trigger refuse_change before update or truncate on operator_binding
    for each statement execute function refuse_change();
alter table operator_binding enable always trigger refuse_change;
alter table operator_binding enable row level security;
grant select on operator_binding to moderation_bound_operator;
create policy own_binding on operator_binding for select to moderation_bound_operator using (login = session_user);

-- Its body is parsed now: no table of a caller's search_path takes the place of operator_binding.
create function bound_root_account() returns bigint language sql stable
    return (select b.root_account from operator_binding b where b.login = session_user);
comment on function bound_root_account is 'The root account that the session''s login is bound to; null: none.';

do $$
declare
    name text;
begin
    foreach name in array array['stream', 'event', 'decided_command', 'verdict_body', 'dead_letter', 'operator_action',
                                'dead_letter_settled', 'redrive', 'redriven', 'encryption_key', 'access_record'] loop
        execute format('alter table %I enable row level security', name);
        execute format('create policy every_row on %I to moderation_writer, moderation_reader, moderation_operator'
                       ' using (true) with check (true)', name);
        execute format('grant select on %I to moderation_bound_operator', name);
    end loop;
end
$$;
grant select on installation, shard, source, verdict to moderation_bound_operator;
grant insert on operator_action, access_record to moderation_bound_operator;

create policy of_account on stream for select to moderation_bound_operator
    using (root_account = (select bound_root_account()));
create policy of_account on event for select to moderation_bound_operator
    using (stream in (select s.number from stream s where s.root_account = (select bound_root_account())));
create policy of_account on decided_command for select to moderation_bound_operator
    using (root_account = (select bound_root_account()));
create policy of_account on verdict_body for select to moderation_bound_operator
    using (exists (select from decided_command c
                   where c.shard = verdict_body.shard and c.number = verdict_body.number
                     and c.root_account = (select bound_root_account())));
create policy of_account on encryption_key for select to moderation_bound_operator
    using (root_account = (select bound_root_account()));
-- Operators of this account may have acted on persons of another one.
create policy of_account on operator_action for select to moderation_bound_operator
    using (root_account = (select bound_root_account())
           and coalesce(detail ->> 'root_account_id' = (select bound_root_account())::text, true));
create policy on_own_persons on operator_action for insert to moderation_bound_operator
    with check (root_account = (select bound_root_account()) and kind in ('erase', 'export')
                and detail ->> 'root_account_id' = (select bound_root_account())::text);
create policy of_account on access_record for select to moderation_bound_operator
    using (target ->> 'root_account' = (select bound_root_account())::text);
-- Attempts to read another account are recorded too, under the login: a bound login cannot record a token's user.
create policy every_attempt on access_record for insert to moderation_bound_operator
    with check (user_id is null and root_account is null and client is not distinct from inet_client_addr());
