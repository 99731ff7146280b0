-- The part of a mail that changes. `number` is short and grows, so that every index appends; `id` is what the world sees.
CREATE TABLE mail (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    status TEXT NOT NULL,
    sender_address TEXT NOT NULL,
    sender_name TEXT NOT NULL,
    subject TEXT NOT NULL,
    on_uncertain TEXT NOT NULL,
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    due_at REAL,        -- what the API shows: when it is tried next
    claimable_at REAL,  -- what a claim goes by: due_at, or the end of the lease; null in an attempt and when nothing is due
    rounds INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    provider TEXT,
    provider_message_id TEXT,
    error TEXT
) STRICT;

CREATE INDEX mail_claimable ON mail (claimable_at) WHERE claimable_at IS NOT NULL;
CREATE INDEX mail_status ON mail (status);
CREATE INDEX mail_provider ON mail (provider) WHERE provider IS NOT NULL;

-- Apart from the mail, so that the part that is read and written all the time stays small.
CREATE TABLE body (
    mail INTEGER PRIMARY KEY REFERENCES mail (number) ON DELETE CASCADE,
    content TEXT,
    html TEXT,
    text TEXT
) STRICT;

CREATE TABLE recipient (
    mail INTEGER NOT NULL REFERENCES mail (number) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    role TEXT NOT NULL,
    address TEXT NOT NULL COLLATE NOCASE,
    name TEXT NOT NULL,
    status TEXT,  -- null: the mail's own
    PRIMARY KEY (mail, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX recipient_address ON recipient (address);

CREATE TABLE attempt (
    mail INTEGER NOT NULL REFERENCES mail (number) ON DELETE CASCADE,
    n INTEGER NOT NULL,
    provider TEXT NOT NULL,
    score REAL NOT NULL,
    considered TEXT NOT NULL,  -- JSON
    started_at REAL NOT NULL,
    ended_at REAL,
    outcome TEXT,  -- null while it runs
    http_status INTEGER,
    detail TEXT,
    PRIMARY KEY (mail, n)
) STRICT, WITHOUT ROWID;

CREATE INDEX attempt_running ON attempt (mail) WHERE outcome IS NULL;

CREATE TABLE event (
    mail INTEGER NOT NULL REFERENCES mail (number) ON DELETE CASCADE,
    n INTEGER NOT NULL,
    type TEXT NOT NULL,
    at REAL NOT NULL,
    provider TEXT,
    recipient TEXT,
    detail TEXT,
    PRIMARY KEY (mail, n)
) STRICT, WITHOUT ROWID;

-- The first answer to a request, told again to every request with the same key.
CREATE TABLE idempotency (
    owner TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    mail_id TEXT NOT NULL,
    status TEXT NOT NULL,
    created_at REAL NOT NULL,
    PRIMARY KEY (owner, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_created ON idempotency (created_at);

CREATE TABLE provider (
    name TEXT PRIMARY KEY,
    state TEXT NOT NULL  -- JSON
) STRICT, WITHOUT ROWID;
