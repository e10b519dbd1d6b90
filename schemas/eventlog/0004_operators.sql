-- What operators do: append-only as the log is, in the transaction that does it.

create table operator_action (
    id           uuid primary key,
    kind         text not null check (kind in ('redrive', 'discard', 'reveal', 'replay')),
    root_account bigint not null,
    user_id      bigint not null,
    reason       text not null check (length(btrim(reason)) between 1 and 1000),
    detail       json not null,
    acted_at     timestamptz not null default clock_timestamp()
);
comment on table operator_action is 'Who, why, what, when. The id is drawn with the form: sent twice, it is one action.';
comment on column operator_action.detail is 'What: what was asked for, as JSON without contents of any record.';
create index operator_action_time on operator_action (acted_at);

create table dead_letter_settled (
    shard   smallint not null,
    number  bigint not null,
    action  uuid not null references operator_action,
    ordinal integer not null,
    primary key (shard, number),
    unique (action, ordinal),
    foreign key (shard, number) references dead_letter
);
comment on table dead_letter_settled is 'A dead letter is redriven or discarded once; without a row here it is open.';

create table redrive (
    action         uuid primary key references operator_action,
    topic          text not null,
    producer_id    bigint not null,
    producer_epoch smallint not null,
    partitions     integer[] not null,
    ends           bigint[] not null
);
comment on table redrive is 'Whose sequence numbers make a record that is sent again the same record to the broker;'
    ' ends: where the partitions ended before.';

create table redriven (
    action    uuid not null,
    ordinal   integer not null,
    partition integer not null,
    "offset"  bigint not null,
    primary key (action, ordinal),
    foreign key (action, ordinal) references dead_letter_settled (action, ordinal)
);
comment on table redriven is 'Where on the commands topic a redriven record stands.';
create index redriven_place on redriven (partition, "offset");

create trigger append_only before update or delete or truncate on operator_action
    for each statement execute function refuse_change();
create trigger append_only before update or delete or truncate on dead_letter_settled
    for each statement execute function refuse_change();
create trigger append_only before update or delete or truncate on redrive
    for each statement execute function refuse_change();
create trigger append_only before update or delete or truncate on redriven
    for each statement execute function refuse_change();
alter table operator_action enable always trigger append_only;
alter table dead_letter_settled enable always trigger append_only;
alter table redrive enable always trigger append_only;
alter table redriven enable always trigger append_only;

do $$
begin
    if not exists (select from pg_roles where rolname = 'moderation_operator') then
        begin
            create role moderation_operator nologin;
        exception when duplicate_object or unique_violation then
            -- Roles are the server's: another of its databases is migrated at the same time.
        end;
    end if;
    if not pg_has_role(current_user, 'moderation_operator', 'member') then
        execute format('grant moderation_operator to %I', current_user);
    end if;
exception when insufficient_privilege then
    raise exception 'this user may not create the role moderation_operator'
        using hint = 'Let an administrator create it (nologin) and grant it to this user, then migrate again.';
end
$$;

grant select on shard, source, stream, event, verdict, dead_letter to moderation_operator;
grant select on operator_action, dead_letter_settled, redrive, redriven to moderation_operator, moderation_reader;
grant insert on operator_action, dead_letter_settled, redrive, redriven to moderation_operator;
