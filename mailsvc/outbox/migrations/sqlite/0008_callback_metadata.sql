-- What the application itself has said about a mail is told to it again.
ALTER TABLE notice ADD COLUMN tags TEXT;
ALTER TABLE notice ADD COLUMN metadata TEXT;

DROP INDEX notice_error;
CREATE INDEX notice_mail ON notice (mail) WHERE error IS NOT NULL OR metadata IS NOT NULL;

DROP TRIGGER mail_moved;
CREATE TRIGGER mail_moved AFTER UPDATE OF status ON mail
WHEN NEW.status <> OLD.status AND NEW.status NOT IN ('scheduled', 'queued', 'sending')
BEGIN
    INSERT INTO notice (callback, type, at, mail, provider, provider_message_id, error, tags, metadata,
        due_at, claimable_at)
    SELECT id, 'mail.' || NEW.status, NEW.updated_at, NEW.id, NEW.provider, NEW.provider_message_id, NEW.error,
        NEW.tags, NEW.metadata, NEW.updated_at, NEW.updated_at
    FROM callback WHERE removed_at IS NULL AND EXISTS (
        SELECT 1 FROM json_each(callback.events) WHERE value IN ('*', 'mail.*', 'mail.' || NEW.status));
END;
