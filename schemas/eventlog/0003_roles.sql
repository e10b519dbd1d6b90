-- Who may do what, besides the triggers: the handler adds and never changes, everybody else reads.

do $$
declare
    name text;
begin
    foreach name in array array['moderation_writer', 'moderation_reader'] loop
        if not exists (select from pg_roles where rolname = name) then
            begin
                execute format('create role %I nologin', name);
            exception when duplicate_object or unique_violation then
                -- Roles are the server's: another of its databases is migrated at the same time.
            end;
        end if;
        if not pg_has_role(current_user, name, 'member') then
            execute format('grant %I to %I', name, current_user);
        end if;
    end loop;
exception when insufficient_privilege then
    raise exception 'this user may not create the roles moderation_writer and moderation_reader'
        using hint = 'Let an administrator create both (nologin) and grant them to this user, then migrate again.';
end
$$;

grant select on shard, source, stream, event, verdict, dead_letter to moderation_reader, moderation_writer;
grant insert on source, stream, event, verdict, dead_letter to moderation_writer;
grant usage on sequence stream_number to moderation_writer;
-- Locking a row asks for the right to update it; the trigger refuses the update itself.
grant update on shard to moderation_writer;
