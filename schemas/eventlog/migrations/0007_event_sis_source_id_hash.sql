-- transactional: false
-- depends: 0006_event_admins

drop index concurrently if exists event_sis_source_id_hash;

create index concurrently event_sis_source_id_hash on event
    (hashtextextended(data #>> '{payload,sis_source_id,1}', 0)) where type = 'course_updated';
