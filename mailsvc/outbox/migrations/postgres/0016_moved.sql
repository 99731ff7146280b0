-- Mails by when they moved last, so that a listener who was away hears of them. One that waits for its first attempt, or
-- is in one, is found otherwise: so a mail that is sent at once is written here once.
CREATE INDEX mail_moved ON mail (updated_at) WHERE updated_at <> created_at AND status <> 'sending';
