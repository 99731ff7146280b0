-- How far the clock of the process that asks lags behind the server's, in seconds. Leases are compared between machines,
-- so they go by the server's clock. Only whole tens count: what is less does no harm, and may be the time on the way.
CREATE FUNCTION behind(here double precision) RETURNS double precision LANGUAGE sql STABLE AS
    'SELECT 10 * round((extract(epoch FROM statement_timestamp())::double precision - here) / 10)';

-- The part of a mail that changes. Everything that decides who may send it is in this row, so that whoever has locked
-- the row knows the truth. `id` is a UUIDv7: it grows with time, so that every index appends.
CREATE TABLE mail (
    id uuid PRIMARY KEY,
    owner text NOT NULL,
    status text COLLATE "C" NOT NULL,
    sender_address text NOT NULL,
    sender_name text NOT NULL,
    subject text NOT NULL,
    on_uncertain text NOT NULL,
    created_at double precision NOT NULL,
    updated_at double precision NOT NULL,
    due_at double precision,        -- what the API shows: when it is tried next
    claimable_at double precision,  -- what a claim goes by: due_at, or the end of the lease; null in an attempt and when nothing is due
    leased_until double precision,  -- from the first attempt of a go to its end: when its process is taken for dead
    running boolean NOT NULL DEFAULT false,  -- whether the attempt `attempts` has not ended
    rounds bigint NOT NULL DEFAULT 0,
    attempts bigint NOT NULL DEFAULT 0,
    provider text COLLATE "C",
    provider_message_id text,
    error text
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);

CREATE INDEX mail_claimable ON mail (claimable_at, id) WHERE claimable_at IS NOT NULL;
CREATE INDEX mail_leased ON mail (leased_until) WHERE leased_until IS NOT NULL;
CREATE INDEX mail_status ON mail (status, id);
CREATE INDEX mail_provider ON mail (provider, id) WHERE provider IS NOT NULL;

-- Apart from the mail, so that the part that is read and written all the time stays small.
CREATE TABLE body (
    mail uuid PRIMARY KEY REFERENCES mail (id) ON DELETE CASCADE,
    content text,
    html text,
    text text
);

CREATE TABLE recipient (
    mail uuid NOT NULL REFERENCES mail (id) ON DELETE CASCADE,
    position integer NOT NULL,
    role text NOT NULL,
    address text COLLATE "C" NOT NULL,
    name text NOT NULL,
    status text,  -- null: the mail's own
    PRIMARY KEY (mail, position)
);

CREATE INDEX recipient_address ON recipient (lower(address), mail);

CREATE TABLE attempt (
    mail uuid NOT NULL REFERENCES mail (id) ON DELETE CASCADE,
    n bigint NOT NULL,
    provider text COLLATE "C" NOT NULL,
    score double precision NOT NULL,
    considered json NOT NULL,
    started_at double precision NOT NULL,
    ended_at double precision,
    outcome text,  -- null while it runs
    in_doubt boolean GENERATED ALWAYS AS (outcome IN ('unanswered', 'interrupted')) STORED,
    http_status bigint,
    detail text,
    resolved text,  -- how the doubt about it was settled; null while it is open, and where there was none
    PRIMARY KEY (mail, n)
);

-- For the count of all doubts, and by a column of its own so that no search for one attempt is tempted to read them all.
CREATE INDEX attempt_in_doubt ON attempt (provider, resolved) WHERE in_doubt;

-- What was handed to a provider that knows a repeated request by its key; kept until the mail's fate is settled.
CREATE TABLE payload (
    mail uuid NOT NULL REFERENCES mail (id) ON DELETE CASCADE,
    provider text COLLATE "C" NOT NULL,
    key text NOT NULL,
    body bytea NOT NULL,
    at double precision NOT NULL,  -- when the key was first used
    PRIMARY KEY (mail, provider)
);

CREATE TABLE event (
    mail uuid NOT NULL REFERENCES mail (id) ON DELETE CASCADE,
    n bigint GENERATED ALWAYS AS IDENTITY,
    type text NOT NULL,
    at double precision NOT NULL,
    provider text,
    recipient text,
    detail text,
    PRIMARY KEY (mail, n)
);

-- The first answer to a request, told again to every request with the same key.
CREATE TABLE idempotency (
    owner text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    fingerprint text NOT NULL,
    mail_id uuid NOT NULL,
    status text NOT NULL,
    created_at double precision NOT NULL,
    PRIMARY KEY (owner, key)
);

CREATE INDEX idempotency_created ON idempotency (created_at);

-- How many mails are in each status: the sum over all rows. Each connection to the server has rows of its own, so that
-- nobody waits for another to count. Rows of connections that are gone are added up in the rows of number 0.
CREATE TABLE tally (
    connection integer NOT NULL,
    status text COLLATE "C" NOT NULL,
    number bigint NOT NULL,
    PRIMARY KEY (connection, status)
) WITH (fillfactor = 50);

CREATE TABLE provider (
    name text COLLATE "C" PRIMARY KEY,
    state json NOT NULL
);
