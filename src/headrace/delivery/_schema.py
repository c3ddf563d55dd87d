"""The tables of a destination's books: one SQLite file a destination, written by delivery alone, read by anybody.

Everything is counted by the minute in which an event was received, so that the figures of a period add up whatever happens to
its events later. Times are milliseconds since 1970, minutes are minutes since then.
"""

from __future__ import annotations

from typing import Final

VERSION: Final = 1
NEVER: Final = 1 << 62
"""The due time of an event that waits for an earlier one of its user."""

STATEMENTS: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

-- Where delivery is: every entry before `next` has had its first attempt, or was none of this destination's.
CREATE TABLE positions (partition INTEGER PRIMARY KEY, incarnation TEXT NOT NULL, next INTEGER NOT NULL) WITHOUT ROWID;

-- Which sources were connected from this offset on.
CREATE TABLE connected (partition INTEGER, offset INTEGER, sources TEXT NOT NULL, PRIMARY KEY (partition, offset)) WITHOUT ROWID;

-- First attempts: consecutive offsets with one outcome. Offsets of other sources in between belong to nobody; events with rows of
-- their own are left out.
CREATE TABLE runs (
  partition INTEGER, first INTEGER, next INTEGER NOT NULL, outcome TEXT NOT NULL, code TEXT NOT NULL,
  from_at INTEGER NOT NULL, to_at INTEGER NOT NULL, PRIMARY KEY (partition, first)
) WITHOUT ROWID;

-- Events whose story is longer: retried, failed. `line` is the event as the log has it while it may still be sent.
CREATE TABLE events (
  id INTEGER PRIMARY KEY,
  partition INTEGER NOT NULL, offset INTEGER NOT NULL,
  source TEXT NOT NULL, type TEXT NOT NULL, name TEXT, message_id TEXT NOT NULL, user_key TEXT,
  received_at INTEGER NOT NULL,
  outcome TEXT NOT NULL, code TEXT NOT NULL, detail TEXT NOT NULL,
  attempts INTEGER NOT NULL, first_at INTEGER NOT NULL, last_at INTEGER NOT NULL, due_at INTEGER NOT NULL,
  history TEXT NOT NULL, line BLOB
);
-- An offset has one row, and one messageId. Ids are looked for by walking through this: in the order of ids, which is random, every new
-- row would cost a page of its own.
CREATE UNIQUE INDEX events_in_order ON events (partition, offset, message_id);
CREATE INDEX events_due ON events (due_at) WHERE outcome = 'retrying';
CREATE INDEX events_of_user ON events (user_key, id) WHERE outcome = 'retrying' AND user_key IS NOT NULL;
CREATE INDEX events_failed ON events (code, received_at) WHERE outcome = 'failed';

CREATE TABLE minutes (
  minute INTEGER, source TEXT, outcome TEXT, code TEXT, events INTEGER NOT NULL, PRIMARY KEY (minute, source, outcome, code)
) WITHOUT ROWID;
CREATE TABLE latencies (minute INTEGER, bucket INTEGER, events INTEGER NOT NULL, PRIMARY KEY (minute, bucket)) WITHOUT ROWID;

-- The same by the hour, for long periods: triggers keep them in step, whoever changes the minutes.
CREATE TABLE hours (
  hour INTEGER, source TEXT, outcome TEXT, code TEXT, events INTEGER NOT NULL, PRIMARY KEY (hour, source, outcome, code)
) WITHOUT ROWID;
CREATE TABLE latency_hours (hour INTEGER, bucket INTEGER, events INTEGER NOT NULL, PRIMARY KEY (hour, bucket)) WITHOUT ROWID;
CREATE TRIGGER minutes_added AFTER INSERT ON minutes BEGIN
  INSERT INTO hours VALUES (new.minute / 60, new.source, new.outcome, new.code, new.events)
  ON CONFLICT DO UPDATE SET events = events + excluded.events;
END;
CREATE TRIGGER minutes_changed AFTER UPDATE ON minutes BEGIN
  INSERT INTO hours VALUES (new.minute / 60, new.source, new.outcome, new.code, new.events - old.events)
  ON CONFLICT DO UPDATE SET events = events + excluded.events;
END;
CREATE TRIGGER minutes_removed AFTER DELETE ON minutes BEGIN
  INSERT INTO hours VALUES (old.minute / 60, old.source, old.outcome, old.code, -old.events)
  ON CONFLICT DO UPDATE SET events = events + excluded.events;
  DELETE FROM hours WHERE hour = old.minute / 60 AND source = old.source AND outcome = old.outcome AND code = old.code AND events = 0;
END;
CREATE TRIGGER latencies_added AFTER INSERT ON latencies BEGIN
  INSERT INTO latency_hours VALUES (new.minute / 60, new.bucket, new.events)
  ON CONFLICT DO UPDATE SET events = events + excluded.events;
END;
CREATE TRIGGER latencies_changed AFTER UPDATE ON latencies BEGIN
  INSERT INTO latency_hours VALUES (new.minute / 60, new.bucket, new.events - old.events)
  ON CONFLICT DO UPDATE SET events = events + excluded.events;
END;
CREATE TRIGGER latencies_removed AFTER DELETE ON latencies BEGIN
  INSERT INTO latency_hours VALUES (old.minute / 60, old.bucket, -old.events)
  ON CONFLICT DO UPDATE SET events = events + excluded.events;
  DELETE FROM latency_hours WHERE hour = old.minute / 60 AND bucket = old.bucket AND events = 0;
END;

-- Accepted before this destination was there, in minutes that it has a part of.
CREATE TABLE before (minute INTEGER, source TEXT, events INTEGER NOT NULL, PRIMARY KEY (minute, source)) WITHOUT ROWID;

-- The newest requests and answers of each code ('' is delivered), secrets masked.
CREATE TABLE samples (
  id INTEGER PRIMARY KEY, code TEXT NOT NULL, at INTEGER NOT NULL, source TEXT NOT NULL, type TEXT NOT NULL, name TEXT,
  message_id TEXT NOT NULL, line BLOB NOT NULL, events INTEGER NOT NULL, seconds REAL NOT NULL, detail TEXT NOT NULL,
  request TEXT NOT NULL, answer TEXT NOT NULL
);
CREATE INDEX samples_by_code ON samples (code, id);

CREATE TABLE replays (
  id INTEGER PRIMARY KEY, created_at INTEGER NOT NULL, wanted TEXT NOT NULL, state TEXT NOT NULL, detail TEXT NOT NULL DEFAULT '',
  positions TEXT NOT NULL, ends TEXT NOT NULL, total INTEGER NOT NULL, passed INTEGER NOT NULL DEFAULT 0, delivered INTEGER NOT NULL DEFAULT 0,
  filtered INTEGER NOT NULL DEFAULT 0, failed INTEGER NOT NULL DEFAULT 0, changed_at INTEGER NOT NULL
);
CREATE TABLE replayed (
  replay INTEGER, partition INTEGER, offset INTEGER, message_id TEXT NOT NULL, at INTEGER NOT NULL, outcome TEXT NOT NULL, code TEXT NOT NULL,
  detail TEXT NOT NULL, PRIMARY KEY (replay, partition, offset)
) WITHOUT ROWID;
CREATE INDEX replayed_by_message_id ON replayed (message_id);
"""
