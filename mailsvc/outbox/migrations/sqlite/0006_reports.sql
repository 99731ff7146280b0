-- What providers told, each report once. First it is only kept; `due_at` is when it is to be merged into its mail, and
-- null when that is done or given up. Once merged, what is left serves to know it again, and to merge the next one.
CREATE TABLE report (
    number INTEGER PRIMARY KEY,
    provider TEXT NOT NULL,
    event TEXT NOT NULL,
    token TEXT,
    type TEXT NOT NULL,
    permanent INTEGER,
    at REAL NOT NULL,
    received_at REAL NOT NULL,
    mail_id TEXT,     -- as told
    message_id TEXT,  -- as told
    recipient TEXT COLLATE NOCASE,
    detail TEXT,
    due_at REAL,
    tries INTEGER NOT NULL DEFAULT 0,
    mail INTEGER REFERENCES mail (number) ON DELETE CASCADE,  -- null as long as none was found
    position INTEGER,                                         -- of the recipient in it; null: all of them
    UNIQUE (provider, event)
) STRICT;

CREATE UNIQUE INDEX report_token ON report (provider, token) WHERE token IS NOT NULL;
CREATE INDEX report_due ON report (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX report_mail ON report (mail) WHERE mail IS NOT NULL;
CREATE INDEX report_unmatched ON report (received_at) WHERE mail IS NULL;
CREATE INDEX report_recipient ON report (recipient) WHERE recipient IS NOT NULL;
