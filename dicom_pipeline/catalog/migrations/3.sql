-- Version 3: the list of studies, newest first, is read in its order and ends when its page is full; the state of a study's last
-- revision is read from an index alone.

CREATE INDEX study_by_arrival ON study (last_at, study_instance_uid);
CREATE INDEX revision_state_of_study ON revision (study_instance_uid, number, state);
