-- Addresses that are not mailed any more.
CREATE TABLE suppression (
    address TEXT PRIMARY KEY COLLATE NOCASE,
    reason TEXT NOT NULL,
    source TEXT NOT NULL,
    created_at REAL NOT NULL,
    expires_at REAL,
    mail_id TEXT
) STRICT, WITHOUT ROWID;

-- Mails that came back for the moment, since the last one of an address that was delivered.
CREATE TABLE soft_bounce (
    address TEXT NOT NULL COLLATE NOCASE,
    mail INTEGER NOT NULL REFERENCES mail (number) ON DELETE CASCADE,
    PRIMARY KEY (address, mail)
) STRICT, WITHOUT ROWID;

CREATE INDEX soft_bounce_mail ON soft_bounce (mail);

ALTER TABLE mail ADD COLUMN ignore_suppression INTEGER NOT NULL DEFAULT 0;
