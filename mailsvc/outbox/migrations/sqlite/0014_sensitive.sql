-- The body of a sensitive mail goes when the mail has ended, in whatever way, and not only when a provider has it.
DROP TRIGGER mail_handed_over;
CREATE TRIGGER mail_ended AFTER UPDATE OF status ON mail
WHEN NEW.sensitive AND NEW.erased_at IS NULL AND NEW.status NOT IN ('scheduled', 'queued', 'sending', 'uncertain')
BEGIN
    DELETE FROM body WHERE mail = NEW.number;
    UPDATE mail SET erased_at = NEW.updated_at WHERE number = NEW.number;
END;

DELETE FROM body WHERE mail IN (SELECT number FROM mail WHERE sensitive AND erased_at IS NULL
    AND status NOT IN ('scheduled', 'queued', 'sending', 'uncertain'));
UPDATE mail SET erased_at = updated_at WHERE sensitive AND erased_at IS NULL
    AND status NOT IN ('scheduled', 'queued', 'sending', 'uncertain');
