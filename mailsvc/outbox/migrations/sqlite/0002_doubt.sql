-- How the doubt about an attempt was settled; null while it is open, and where there was none.
ALTER TABLE attempt ADD COLUMN resolved TEXT;

CREATE INDEX attempt_in_doubt ON attempt (provider, resolved) WHERE outcome IN ('unanswered', 'interrupted');

-- What was handed to a provider that knows a repeated request by its key; kept until the mail's fate is settled.
CREATE TABLE payload (
    mail INTEGER NOT NULL REFERENCES mail (number) ON DELETE CASCADE,
    provider TEXT NOT NULL,
    key TEXT NOT NULL,
    body BLOB NOT NULL,
    at REAL NOT NULL,  -- when the key was first used
    PRIMARY KEY (mail, provider)
) STRICT;
