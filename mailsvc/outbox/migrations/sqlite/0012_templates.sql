-- Templates, every version of them. A version without a subject says that the template was removed: its number goes on.
CREATE TABLE template (
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    created_at REAL NOT NULL,
    subject TEXT,
    content TEXT,
    html TEXT,
    text TEXT,
    PRIMARY KEY (name, version)
) STRICT;

-- From which template a mail was made: its name, and `@` and the version.
ALTER TABLE mail ADD COLUMN template TEXT;
