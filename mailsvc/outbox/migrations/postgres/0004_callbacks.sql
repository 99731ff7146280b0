-- Where applications want to be told what becomes of their mails. One that was removed goes when its notices are gone.
CREATE TABLE callback (
    id text COLLATE "C" PRIMARY KEY,
    url text NOT NULL,
    events text[] NOT NULL,
    description text NOT NULL,
    secrets json NOT NULL,  -- the newest first
    created_at double precision NOT NULL,
    version bigint NOT NULL,
    disabled_at double precision,
    disabled_why text,
    failing_since double precision,  -- the first failure since the last success
    removed_at double precision
);

-- One event for one callback. No reference to it: thousands of mails a second would lock its row to share it.
CREATE TABLE notice (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text COLLATE "C" NOT NULL UNIQUE DEFAULT 'msg_' || replace(gen_random_uuid()::text, '-', ''),
    callback text COLLATE "C" NOT NULL,
    type text NOT NULL,
    at double precision NOT NULL,
    mail uuid,
    provider text,
    provider_message_id text,
    error text,
    state text NOT NULL DEFAULT 'waiting',
    due_at double precision,
    rung bigint NOT NULL DEFAULT 0,  -- tries since it began or was replayed
    tries bigint NOT NULL DEFAULT 0,
    claimable_at double precision    -- due_at, or the end of the lease; null when nothing is due
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);

CREATE INDEX notice_claimable ON notice (callback, claimable_at) WHERE claimable_at IS NOT NULL;
CREATE INDEX notice_log ON notice (callback, at, number);
CREATE INDEX notice_error ON notice (mail) WHERE error IS NOT NULL;  -- for those who want to be forgotten

CREATE TABLE notice_try (
    notice bigint NOT NULL REFERENCES notice (number) ON DELETE CASCADE,
    n bigint NOT NULL,
    at double precision NOT NULL,
    took double precision NOT NULL,
    http_status bigint,
    error text,
    PRIMARY KEY (notice, n)
);

-- Whoever moves a mail, and wherever: in the same transaction, everybody who wants to know has a notice of it. Due at
-- once by the clock of the server, too, wherever that of the process may be.
CREATE FUNCTION mail_moved() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO mailsvc.notice (callback, type, at, mail, provider, provider_message_id, error, due_at, claimable_at)
    SELECT id, 'mail.' || NEW.status, NEW.updated_at, NEW.id, NEW.provider, NEW.provider_message_id, NEW.error,
        NEW.updated_at, least(NEW.updated_at, extract(epoch FROM statement_timestamp())::double precision)
    FROM mailsvc.callback
    WHERE removed_at IS NULL AND events && ARRAY['*', 'mail.*', 'mail.' || NEW.status];
    RETURN NULL;
END $$;

CREATE TRIGGER mail_moved AFTER UPDATE OF status ON mail FOR EACH ROW
WHEN (NEW.status <> OLD.status AND NEW.status NOT IN ('scheduled', 'queued', 'sending'))
EXECUTE FUNCTION mail_moved();
