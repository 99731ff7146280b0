-- What providers told, each report once. First it is only kept; `due_at` is when it is to be merged into its mail, and
-- null when that is done or given up. Once merged, what is left serves to know it again, and to merge the next one.
CREATE TABLE report (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    provider text COLLATE "C" NOT NULL,
    event text COLLATE "C" NOT NULL,
    token text COLLATE "C",
    type text NOT NULL,
    permanent boolean,
    at double precision NOT NULL,
    received_at double precision NOT NULL,
    mail_id text,     -- as told
    message_id text,  -- as told
    recipient text COLLATE "C",
    detail text,
    due_at double precision,
    tries bigint NOT NULL DEFAULT 0,
    mail uuid REFERENCES mail (id) ON DELETE CASCADE,  -- null as long as none was found
    position integer,                                  -- of the recipient in it; null: all of them
    UNIQUE (provider, event)
);

CREATE UNIQUE INDEX report_token ON report (provider, token) WHERE token IS NOT NULL;
CREATE INDEX report_due ON report (due_at, number) WHERE due_at IS NOT NULL;
CREATE INDEX report_mail ON report (mail) WHERE mail IS NOT NULL;
CREATE INDEX report_unmatched ON report (received_at) WHERE mail IS NULL;
CREATE INDEX report_recipient ON report (lower(recipient)) WHERE recipient IS NOT NULL;
