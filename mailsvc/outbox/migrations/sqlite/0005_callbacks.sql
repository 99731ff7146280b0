-- Where applications want to be told what becomes of their mails. One that was removed goes when its notices are gone.
CREATE TABLE callback (
    id TEXT PRIMARY KEY,
    url TEXT NOT NULL,
    events TEXT NOT NULL,   -- JSON
    description TEXT NOT NULL,
    secrets TEXT NOT NULL,  -- JSON, the newest first
    created_at REAL NOT NULL,
    version INTEGER NOT NULL,
    disabled_at REAL,
    disabled_why TEXT,
    failing_since REAL,     -- the first failure since the last success
    removed_at REAL
) STRICT, WITHOUT ROWID;

-- One event for one callback.
CREATE TABLE notice (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE DEFAULT ('msg_' || lower(hex(randomblob(16)))),
    callback TEXT NOT NULL,
    type TEXT NOT NULL,
    at REAL NOT NULL,
    mail TEXT,
    provider TEXT,
    provider_message_id TEXT,
    error TEXT,
    state TEXT NOT NULL DEFAULT 'waiting',
    due_at REAL,
    rung INTEGER NOT NULL DEFAULT 0,   -- tries since it began or was replayed
    tries INTEGER NOT NULL DEFAULT 0,
    claimable_at REAL                  -- due_at, or the end of the lease; null when nothing is due
) STRICT;

CREATE INDEX notice_claimable ON notice (callback, claimable_at) WHERE claimable_at IS NOT NULL;
CREATE INDEX notice_log ON notice (callback, at);
CREATE INDEX notice_error ON notice (mail) WHERE error IS NOT NULL;  -- for those who want to be forgotten

CREATE TABLE notice_try (
    notice INTEGER NOT NULL REFERENCES notice (number) ON DELETE CASCADE,
    n INTEGER NOT NULL,
    at REAL NOT NULL,
    took REAL NOT NULL,
    http_status INTEGER,
    error TEXT,
    PRIMARY KEY (notice, n)
) STRICT, WITHOUT ROWID;

-- Whoever moves a mail, and wherever: in the same transaction, everybody who wants to know has a notice of it.
CREATE TRIGGER mail_moved AFTER UPDATE OF status ON mail
WHEN NEW.status <> OLD.status AND NEW.status NOT IN ('scheduled', 'queued', 'sending')
BEGIN
    INSERT INTO notice (callback, type, at, mail, provider, provider_message_id, error, due_at, claimable_at)
    SELECT id, 'mail.' || NEW.status, NEW.updated_at, NEW.id, NEW.provider, NEW.provider_message_id, NEW.error,
        NEW.updated_at, NEW.updated_at
    FROM callback WHERE removed_at IS NULL AND EXISTS (
        SELECT 1 FROM json_each(callback.events) WHERE value IN ('*', 'mail.*', 'mail.' || NEW.status));
END;
