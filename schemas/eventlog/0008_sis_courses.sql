-- Canvas's clients name a course by its SIS id too (sis_course_id:…): found without walking through the log.

create index event_sis_source_id on event ((data #>> '{payload,sis_source_id,1}')) where type = 'course_updated';
