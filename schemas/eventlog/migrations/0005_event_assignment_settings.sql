-- transactional: false
-- depends: 0004_event_final_grader

drop index concurrently if exists event_assignment_settings;

create index concurrently event_assignment_settings on event (stream, version)
    where type in ('assignment_created', 'assignment_updated');
