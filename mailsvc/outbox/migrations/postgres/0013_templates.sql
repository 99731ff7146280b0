-- Templates, every version of them. A version without a subject says that the template was removed: its number goes on.
CREATE TABLE template (
    name text COLLATE "C" NOT NULL,
    version integer NOT NULL,
    created_at double precision NOT NULL,
    subject text,
    content text,
    html text,
    text text,
    PRIMARY KEY (name, version)
);

-- From which template a mail was made: its name, and `@` and the version.
ALTER TABLE mail ADD COLUMN template text;
