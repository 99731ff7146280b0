-- Addresses that are not mailed any more, in lower case.
CREATE TABLE suppression (
    address text COLLATE "C" PRIMARY KEY,
    reason text NOT NULL,
    source text NOT NULL,
    created_at double precision NOT NULL,
    expires_at double precision,
    mail_id text
);

-- Mails that came back for the moment, since the last one of an address that was delivered.
CREATE TABLE soft_bounce (
    address text COLLATE "C" NOT NULL,
    mail uuid NOT NULL REFERENCES mail (id) ON DELETE CASCADE,
    PRIMARY KEY (address, mail)
);

CREATE INDEX soft_bounce_mail ON soft_bounce (mail);

ALTER TABLE mail ADD COLUMN ignore_suppression boolean NOT NULL DEFAULT false;
