-- The rest of what a mail can carry. JSON; null: nothing of it.
ALTER TABLE mail ADD COLUMN tags TEXT;
ALTER TABLE mail ADD COLUMN metadata TEXT;
ALTER TABLE body ADD COLUMN reply_to TEXT;
ALTER TABLE body ADD COLUMN headers TEXT;
ALTER TABLE body ADD COLUMN attachments INTEGER NOT NULL DEFAULT 0;  -- how many

CREATE TABLE attachment (
    mail INTEGER NOT NULL REFERENCES body (mail) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    filename TEXT NOT NULL,
    content_type TEXT NOT NULL,
    content_id TEXT,
    size INTEGER NOT NULL,
    content BLOB NOT NULL,  -- last: whoever wants the list of files reads no page of it
    PRIMARY KEY (mail, position)
) STRICT;
