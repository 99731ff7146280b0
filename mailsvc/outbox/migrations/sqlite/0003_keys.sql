-- API keys: what each allows, and a digest in place of its text. A revoked one stays, because its mails do.
CREATE TABLE api_key (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    scopes TEXT NOT NULL,   -- JSON
    domains TEXT NOT NULL,  -- JSON
    rate INTEGER,
    created_at REAL NOT NULL,
    revoked_at REAL
) STRICT, WITHOUT ROWID;

-- A key lists its own mails alone.
CREATE INDEX mail_owner ON mail (owner);
