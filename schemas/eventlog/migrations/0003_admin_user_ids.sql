-- The console lists the assignments that a user moderates or audits: by the final grader, by the roles in the account.
-- This and the indexes of the next files keep its query from reading the whole log. ../schema.sql explains them.
-- depends: 0002_snapshot

create function admin_user_ids(data json) returns text[] language sql immutable strict parallel safe
    return (select array_agg(a.admin ->> 'user_id') from json_array_elements(data #> '{payload,admins}') a (admin));
comment on function admin_user_ids is 'The ids of the users whose roles in the account an admins_updated event states.';
