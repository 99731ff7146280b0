-- The tags and the metadata of mails once more, to find mails by them.
CREATE TABLE mail_tag (
    tag text COLLATE "C" NOT NULL,
    mail uuid NOT NULL REFERENCES mail (id) ON DELETE CASCADE,
    PRIMARY KEY (tag, mail)
);

CREATE INDEX mail_tag_mail ON mail_tag (mail);

CREATE TABLE mail_metadata (
    key text COLLATE "C" NOT NULL,
    value text COLLATE "C" NOT NULL,
    mail uuid NOT NULL REFERENCES mail (id) ON DELETE CASCADE,
    PRIMARY KEY (key, value, mail)
);

CREATE INDEX mail_metadata_mail ON mail_metadata (mail);

INSERT INTO mail_tag (tag, mail)
    SELECT DISTINCT tag, id FROM mail, json_array_elements_text(tags) AS tag WHERE tags IS NOT NULL;
INSERT INTO mail_metadata (key, value, mail)
    SELECT key, value, id FROM mail, json_each_text(metadata) WHERE metadata IS NOT NULL;

-- Those without labels cost nothing.
CREATE FUNCTION mail_labeled() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.tags IS NOT NULL THEN
        INSERT INTO mailsvc.mail_tag (tag, mail) SELECT DISTINCT tag, NEW.id FROM json_array_elements_text(NEW.tags) AS tag;
    END IF;
    IF NEW.metadata IS NOT NULL THEN
        INSERT INTO mailsvc.mail_metadata (key, value, mail) SELECT key, value, NEW.id FROM json_each_text(NEW.metadata);
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER mail_labeled AFTER INSERT ON mail FOR EACH ROW
WHEN (NEW.tags IS NOT NULL OR NEW.metadata IS NOT NULL)
EXECUTE FUNCTION mail_labeled();

CREATE FUNCTION mail_erased() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM mailsvc.mail_metadata WHERE mail = NEW.id;
    RETURN NULL;
END $$;

CREATE TRIGGER mail_erased AFTER UPDATE OF metadata ON mail FOR EACH ROW
WHEN (NEW.metadata IS NULL AND OLD.metadata IS NOT NULL)
EXECUTE FUNCTION mail_erased();
