-- API keys: what each allows, and a digest in place of its text. A revoked one stays, because its mails do.
CREATE TABLE api_key (
    id text COLLATE "C" PRIMARY KEY,
    name text NOT NULL,
    digest text NOT NULL,
    scopes text[] NOT NULL,
    domains text[] NOT NULL,
    rate bigint,
    created_at double precision NOT NULL,
    revoked_at double precision
);

-- A key lists its own mails alone.
CREATE INDEX mail_owner ON mail (owner, id);
