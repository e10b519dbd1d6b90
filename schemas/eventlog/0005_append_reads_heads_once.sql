-- The heads are read once. PostgreSQL read the last live_number again for each event, and each time passed over the
-- index entries of all events that the same statement had inserted: 10,000 published grades took seconds.

-- One batch, one transaction, one round trip. It locks, compares, inserts and decides nothing.
-- Answers false, and writes nothing, where a shard's head or a partition's watermark moved since the caller looked:
-- a second statement sees what was committed before the lock was granted (READ COMMITTED takes a snapshot a statement).
create or replace function append(
    seen shard_head[], of_source smallint, partitions integer[], first_offsets bigint[], at timestamptz,
    streams stream_row[], events event_row[], verdicts verdict_row[], dead_letters dead_letter_row[]
) returns boolean language plpgsql as $$
declare
    shards constant smallint[] := array(select k.shard from unnest(seen) k);
begin
    -- One order for everybody, so that writers wait for each other and never deadlock.
    perform 1 from shard s where s.shard = any(shards) order by s.shard for update;

    if exists (select from heads(shards) h join unnest(seen) k on k.shard = h.shard
               where (h.position, h.verdict_number, h.dead_letter_number)
                     <> (k.position, k.verdict_number, k.dead_letter_number))
       or exists (select from unnest(partitions, first_offsets) f(p, o) where watermark(of_source, f.p) >= f.o)
    then
        return false;
    end if;

    insert into stream (number, root_account, course, assignment, shard)
    select s.number, s.root_account, s.course, s.assignment, s.shard from unnest(streams) s;

    if cardinality(events) > 0 then
        insert into event (shard, position, live_number, stream, version, type, type_version, data, metadata, recorded_at)
        with h as materialized (select k.shard, k.live_number from heads(shards) k)
        select e.shard, e.position,
               case when e.live then h.live_number + count(*) filter (where e.live)
                    over (partition by e.shard order by e.position) end,
               e.stream, e.version, e.type, 1, e.data, e.metadata, at
        from unnest(events) e
        join h on h.shard = e.shard
        order by e.shard, e.position;
    end if;

    -- In the order of command ids: of two writers of the same ids one waits and fails, none deadlocks.
    insert into verdict (shard, number, root_account, command_id, first, content_hash, source, partition, "offset",
                         append_time, key, body, metadata)
    select v.shard, v.number, v.root_account, v.command_id, v.first, v.content_hash, of_source, v.partition, v."offset",
           v.append_time, v.key, v.body, v.metadata
    from unnest(verdicts) v
    order by v.command_id;

    insert into dead_letter (shard, number, source, partition, "offset", append_time, key, value, headers, reason,
                             message, recorded_at)
    select d.shard, d.number, of_source, d.partition, d."offset", d.append_time, d.key, d.value, d.headers,
           d.reason, d.message, at
    from unnest(dead_letters) d;

    return true;
end
$$;
