-- What the application itself has said about a mail is told to it again.
ALTER TABLE notice ADD COLUMN tags json;
ALTER TABLE notice ADD COLUMN metadata json;

DROP INDEX notice_error;
CREATE INDEX notice_mail ON notice (mail) WHERE error IS NOT NULL OR metadata IS NOT NULL;

CREATE OR REPLACE FUNCTION mail_moved() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO mailsvc.notice (callback, type, at, mail, provider, provider_message_id, error, tags, metadata,
        due_at, claimable_at)
    SELECT id, 'mail.' || NEW.status, NEW.updated_at, NEW.id, NEW.provider, NEW.provider_message_id, NEW.error,
        NEW.tags, NEW.metadata, NEW.updated_at,
        least(NEW.updated_at, extract(epoch FROM statement_timestamp())::double precision)
    FROM mailsvc.callback
    WHERE removed_at IS NULL AND events && ARRAY['*', 'mail.*', 'mail.' || NEW.status];
    RETURN NULL;
END $$;
