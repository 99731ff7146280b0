-- The tags and the metadata of mails once more, to find mails by them.
CREATE TABLE mail_tag (
    tag TEXT NOT NULL,
    mail INTEGER NOT NULL REFERENCES mail (number) ON DELETE CASCADE,
    PRIMARY KEY (tag, mail)
) STRICT, WITHOUT ROWID;

CREATE INDEX mail_tag_mail ON mail_tag (mail);

CREATE TABLE mail_metadata (
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    mail INTEGER NOT NULL REFERENCES mail (number) ON DELETE CASCADE,
    PRIMARY KEY (key, value, mail)
) STRICT, WITHOUT ROWID;

CREATE INDEX mail_metadata_mail ON mail_metadata (mail);

INSERT INTO mail_tag (tag, mail) SELECT DISTINCT value, number FROM mail, json_each(mail.tags) WHERE tags IS NOT NULL;
INSERT INTO mail_metadata (key, value, mail)
    SELECT key, value, number FROM mail, json_each(mail.metadata) WHERE metadata IS NOT NULL;

-- Those without labels cost nothing.
CREATE TRIGGER mail_tagged AFTER INSERT ON mail WHEN NEW.tags IS NOT NULL
BEGIN
    INSERT INTO mail_tag (tag, mail) SELECT DISTINCT value, NEW.number FROM json_each(NEW.tags);
END;

CREATE TRIGGER mail_described AFTER INSERT ON mail WHEN NEW.metadata IS NOT NULL
BEGIN
    INSERT INTO mail_metadata (key, value, mail) SELECT key, value, NEW.number FROM json_each(NEW.metadata);
END;

CREATE TRIGGER mail_erased AFTER UPDATE OF metadata ON mail WHEN NEW.metadata IS NULL AND OLD.metadata IS NOT NULL
BEGIN
    DELETE FROM mail_metadata WHERE mail = NEW.number;
END;
