-- The rest of what a mail can carry. Null: nothing of it.
ALTER TABLE mail ADD COLUMN tags json;
ALTER TABLE mail ADD COLUMN metadata json;
ALTER TABLE body ADD COLUMN reply_to json;
ALTER TABLE body ADD COLUMN headers json;
ALTER TABLE body ADD COLUMN attachments integer NOT NULL DEFAULT 0;  -- how many

CREATE TABLE attachment (
    mail uuid NOT NULL REFERENCES body (mail) ON DELETE CASCADE,
    position integer NOT NULL,
    filename text NOT NULL,
    content_type text NOT NULL,
    content_id text,
    size bigint NOT NULL,
    content bytea NOT NULL,
    PRIMARY KEY (mail, position)
);
