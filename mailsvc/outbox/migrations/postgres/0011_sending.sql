-- When it is too late to send a mail, in which lane it waits (0 high, 1 normal, 2 low), and whether its body goes as soon
-- as a provider has it.
ALTER TABLE mail ADD COLUMN expires_at double precision;
ALTER TABLE mail ADD COLUMN lane integer NOT NULL DEFAULT 1;
ALTER TABLE mail ADD COLUMN sensitive boolean NOT NULL DEFAULT false;
ALTER TABLE mail ADD COLUMN tried_since double precision;  -- giving up counts from here; null: from when it was accepted
ALTER TABLE mail ADD COLUMN retries integer NOT NULL DEFAULT 0;  -- how often it was sent on its way again by request

DROP INDEX mail_claimable;
CREATE INDEX mail_claimable ON mail (lane, claimable_at, id) WHERE claimable_at IS NOT NULL;
CREATE INDEX mail_expires ON mail (expires_at) WHERE expires_at IS NOT NULL AND status IN ('scheduled', 'queued');

-- The answer to a whole batch; null for the answer to one mail.
ALTER TABLE idempotency ADD COLUMN answer text;

-- Whoever says that a provider has it: the body of a sensitive mail goes in the same transaction.
CREATE FUNCTION mail_handed_over() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM mailsvc.body WHERE mail = NEW.id;
    NEW.erased_at := NEW.updated_at;
    RETURN NEW;
END $$;

CREATE TRIGGER mail_handed_over BEFORE UPDATE OF status ON mail FOR EACH ROW
WHEN (NEW.sensitive AND NEW.erased_at IS NULL
    AND NEW.status IN ('sent', 'delayed', 'delivered', 'rejected', 'bounced', 'complained'))
EXECUTE FUNCTION mail_handed_over();
