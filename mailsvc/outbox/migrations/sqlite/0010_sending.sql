-- When it is too late to send a mail, in which lane it waits (0 high, 1 normal, 2 low), and whether its body goes as soon
-- as a provider has it.
ALTER TABLE mail ADD COLUMN expires_at REAL;
ALTER TABLE mail ADD COLUMN lane INTEGER NOT NULL DEFAULT 1;
ALTER TABLE mail ADD COLUMN sensitive INTEGER NOT NULL DEFAULT 0;
ALTER TABLE mail ADD COLUMN tried_since REAL;  -- giving up counts from here; null: from when it was accepted
ALTER TABLE mail ADD COLUMN retries INTEGER NOT NULL DEFAULT 0;  -- how often it was sent on its way again by request

DROP INDEX mail_claimable;
CREATE INDEX mail_claimable ON mail (lane, claimable_at) WHERE claimable_at IS NOT NULL;
CREATE INDEX mail_expires ON mail (expires_at) WHERE expires_at IS NOT NULL AND status IN ('scheduled', 'queued');

-- The answer to a whole batch; null for the answer to one mail.
ALTER TABLE idempotency ADD COLUMN answer TEXT;

-- Whoever says that a provider has it: the body of a sensitive mail goes in the same transaction.
CREATE TRIGGER mail_handed_over AFTER UPDATE OF status ON mail
WHEN NEW.sensitive AND NEW.erased_at IS NULL
    AND NEW.status IN ('sent', 'delayed', 'delivered', 'rejected', 'bounced', 'complained')
BEGIN
    DELETE FROM body WHERE mail = NEW.number;
    UPDATE mail SET erased_at = NEW.updated_at WHERE number = NEW.number;
END;
