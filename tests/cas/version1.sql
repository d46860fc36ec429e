-- The schema of version 1, frozen: what its program made of a new file. Never edit it.
CREATE TABLE objects (
    path TEXT PRIMARY KEY, hash BLOB NOT NULL CHECK (length(hash) = 32), size INTEGER NOT NULL, pinned INTEGER NOT NULL,
    content_type TEXT NOT NULL, coding INTEGER NOT NULL, last_modified INTEGER, stored_at INTEGER NOT NULL,
    last_used INTEGER NOT NULL, seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX objects_by_hash ON objects (hash);
CREATE INDEX objects_by_use ON objects (last_used) WHERE pinned = 0;
CREATE TABLE blobs (
    hash BLOB PRIMARY KEY CHECK (length(hash) = 32), size INTEGER NOT NULL, allocated INTEGER NOT NULL, synced INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE lost (
    path TEXT PRIMARY KEY, hash BLOB NOT NULL CHECK (length(hash) = 32), size INTEGER NOT NULL, pinned INTEGER NOT NULL,
    content_type TEXT NOT NULL, coding INTEGER NOT NULL, last_modified INTEGER, stored_at INTEGER NOT NULL,
    last_used INTEGER NOT NULL, seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE totals (
    id INTEGER PRIMARY KEY CHECK (id = 0), objects INTEGER NOT NULL, blobs INTEGER NOT NULL, allocated INTEGER NOT NULL,
    generation INTEGER NOT NULL
) STRICT;
INSERT INTO totals VALUES (0, 0, 0, 0, 0);
CREATE TRIGGER object_in AFTER INSERT ON objects BEGIN UPDATE totals SET objects = objects + 1; END;
CREATE TRIGGER object_out AFTER DELETE ON objects BEGIN UPDATE totals SET objects = objects - 1; END;
CREATE TRIGGER blob_in AFTER INSERT ON blobs
    BEGIN UPDATE totals SET blobs = blobs + 1, allocated = allocated + new.allocated; END;
CREATE TRIGGER blob_change AFTER UPDATE OF allocated ON blobs
    BEGIN UPDATE totals SET allocated = allocated + new.allocated - old.allocated; END;
CREATE TRIGGER blob_out AFTER DELETE ON blobs
    BEGIN UPDATE totals SET blobs = blobs - 1, allocated = allocated - old.allocated; END;
