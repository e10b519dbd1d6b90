-- transactional: false
-- depends: 0005_event_assignment_settings

drop index concurrently if exists event_admins;

create index concurrently event_admins on event using gin (admin_user_ids(data)) where type = 'admins_updated';
