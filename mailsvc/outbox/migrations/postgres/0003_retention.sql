-- When the bodies of a mail were erased; null while they are there.
ALTER TABLE mail ADD COLUMN erased_at double precision;

-- What may be forgotten, the oldest first: final mails with their bodies, then those without.
CREATE INDEX mail_with_body ON mail (updated_at)
    WHERE erased_at IS NULL AND status NOT IN ('scheduled', 'queued', 'sending', 'uncertain');
CREATE INDEX mail_without_body ON mail (updated_at) WHERE erased_at IS NOT NULL;
