-- transactional: false
-- depends: 0001_baseline
-- The console lists the assignments that a user moderates or audits: by the final grader, by the roles in the account.
-- Without these indexes its query reads the whole log. Each is dropped first: an interrupted build leaves an invalid one.

drop index concurrently if exists event_final_grader;

create index concurrently event_final_grader on event
    ((coalesce(data #>> '{payload,final_grader_id,1}', data #>> '{payload,final_grader_id}')))
    where type in ('assignment_created', 'assignment_updated');

drop index concurrently if exists event_assignment_settings;

create index concurrently event_assignment_settings on event (stream, version)
    where type in ('assignment_created', 'assignment_updated');

drop index concurrently if exists event_admins;

create index concurrently event_admins on event (stream) where type = 'admins_updated';
