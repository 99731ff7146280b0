-- The body of a sensitive mail goes when the mail has ended, in whatever way, and not only when a provider has it.
DROP TRIGGER mail_handed_over ON mail;
ALTER FUNCTION mail_handed_over() RENAME TO mail_ended;
CREATE TRIGGER mail_ended BEFORE UPDATE OF status ON mail FOR EACH ROW
WHEN (NEW.sensitive AND NEW.erased_at IS NULL AND NEW.status NOT IN ('scheduled', 'queued', 'sending', 'uncertain'))
EXECUTE FUNCTION mail_ended();

DELETE FROM body USING mail WHERE body.mail = mail.id AND sensitive AND erased_at IS NULL
    AND status NOT IN ('scheduled', 'queued', 'sending', 'uncertain');
UPDATE mail SET erased_at = updated_at WHERE sensitive AND erased_at IS NULL
    AND status NOT IN ('scheduled', 'queued', 'sending', 'uncertain');
