-- Reads of the ends of the indexes: what has been numbered so far, without a counter row to update.

create function heads(shards smallint[])
returns table (shard smallint, "position" bigint, live_number bigint, verdict_number bigint, dead_letter_number bigint)
language sql stable as $$
    select s,
           coalesce((select e.position from event e where e.shard = s order by e.position desc limit 1), 0),
           coalesce((select e.live_number from event e
                     where e.shard = s and e.live_number is not null order by e.live_number desc limit 1), 0),
           coalesce((select v.number from verdict v where v.shard = s order by v.number desc limit 1), 0),
           coalesce((select d.number from dead_letter d where d.shard = s order by d.number desc limit 1), 0)
    from unnest(shards) s
$$;

create function watermark(of_source smallint, of_partition integer) returns bigint
language sql stable as $$
    select greatest(
        coalesce((select v."offset" from verdict v where v.source = of_source and v.partition = of_partition
                  order by v."offset" desc limit 1), -1),
        coalesce((select d."offset" from dead_letter d where d.source = of_source and d.partition = of_partition
                  order by d."offset" desc limit 1), -1))
$$;

-- One batch, one transaction, one round trip. It locks, compares, inserts and decides nothing.
-- Answers false, and writes nothing, where a shard's head or a partition's watermark moved since the caller looked:
-- a second statement sees what was committed before the lock was granted (READ COMMITTED takes a snapshot a statement).
create function append(
    shards smallint[], positions bigint[], verdict_numbers bigint[], dead_letter_numbers bigint[],
    of_source smallint, partitions integer[], first_offsets bigint[],
    stream_numbers bigint[], stream_roots bigint[], stream_courses bigint[], stream_assignments bigint[],
    stream_shards smallint[],
    event_shards smallint[], event_positions bigint[], event_lives boolean[], event_streams bigint[],
    event_versions integer[], event_types text[], event_data text[], event_metadata text[], at timestamptz,
    verdict_shards smallint[], verdict_counts bigint[], verdict_roots bigint[], verdict_commands uuid[],
    verdict_firsts boolean[], verdict_hashes bytea[], verdict_partitions integer[], verdict_offsets bigint[],
    verdict_append_times bigint[], verdict_keys bytea[], verdict_bodies text[], verdict_metadata text[],
    letter_shards smallint[], letter_counts bigint[], letter_partitions integer[], letter_offsets bigint[],
    letter_append_times bigint[], letter_keys bytea[], letter_values bytea[], letter_headers bytea[],
    letter_reasons text[], letter_messages text[]
) returns boolean language plpgsql as $$
begin
    -- One order for everybody, so that writers wait for each other and never deadlock.
    perform 1 from shard s where s.shard = any(shards) order by s.shard for update;

    if exists (select from heads(shards) h
               join unnest(shards, positions, verdict_numbers, dead_letter_numbers) k(shard, p, v, d) on k.shard = h.shard
               where (h.position, h.verdict_number, h.dead_letter_number) <> (k.p, k.v, k.d))
       or exists (select from unnest(partitions, first_offsets) f(p, o) where watermark(of_source, f.p) >= f.o)
    then
        return false;
    end if;

    insert into stream (number, root_account, course, assignment, shard)
    select * from unnest(stream_numbers, stream_roots, stream_courses, stream_assignments, stream_shards);

    if event_shards <> '{}' then
        insert into event (shard, position, live_number, stream, version, type, type_version, data, metadata, recorded_at)
        select e.shard, e.position,
               case when e.live then h.live_number + count(*) filter (where e.live)
                    over (partition by e.shard order by e.position) end,
               e.stream, e.version, e.type, 1, e.data::json, e.metadata::json, at
        from unnest(event_shards, event_positions, event_lives, event_streams, event_versions, event_types,
                    event_data, event_metadata)
             e(shard, "position", live, stream, version, type, data, metadata)
        join heads(shards) h on h.shard = e.shard
        order by e.shard, e.position;
    end if;

    -- In the order of command ids: of two writers of the same ids one waits and fails, none deadlocks.
    insert into verdict (shard, number, root_account, command_id, first, content_hash, source, partition, "offset",
                         append_time, key, body, metadata)
    select v.shard, k.v + v.count, v.root, v.command, v.first, v.hash, of_source, v.partition, v."offset",
           v.append_time, v.key, v.body::json, v.metadata::json
    from unnest(verdict_shards, verdict_counts, verdict_roots, verdict_commands, verdict_firsts, verdict_hashes,
                verdict_partitions, verdict_offsets, verdict_append_times, verdict_keys, verdict_bodies,
                verdict_metadata)
         v(shard, count, root, command, first, hash, partition, "offset", append_time, key, body, metadata)
    join unnest(shards, verdict_numbers) k(shard, v) on k.shard = v.shard
    order by v.command;

    if letter_shards <> '{}' then
        insert into dead_letter (shard, number, source, partition, "offset", append_time, key, value, headers, reason,
                                 message, recorded_at)
        select d.shard, k.n + d.count, of_source, d.partition, d."offset", d.append_time, d.key, d.value, d.headers,
               d.reason, d.message, at
        from unnest(letter_shards, letter_counts, letter_partitions, letter_offsets, letter_append_times, letter_keys,
                    letter_values, letter_headers, letter_reasons, letter_messages)
             d(shard, count, partition, "offset", append_time, key, value, headers, reason, message)
        join unnest(shards, dead_letter_numbers) k(shard, n) on k.shard = d.shard;
    end if;

    return true;
end
$$;
