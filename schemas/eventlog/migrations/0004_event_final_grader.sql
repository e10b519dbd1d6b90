-- transactional: false
-- depends: 0003_admin_user_ids
-- One index in each file: a run that was interrupted repeats only the file that it did not end, and what is left of
-- that index is invalid.

drop index concurrently if exists event_final_grader;

create index concurrently event_final_grader on event
    ((coalesce(data #>> '{payload,final_grader_id,1}', data #>> '{payload,final_grader_id}')), stream)
    where type in ('assignment_created', 'assignment_updated');
