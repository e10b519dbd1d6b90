-- transactional: false
-- depends: 0007_event_sis_source_id_hash
-- It could not hold ids of more than 2,704 bytes, and refused their events. Gateways of the version before read more
-- slowly without it.

drop index concurrently if exists event_sis_source_id;
