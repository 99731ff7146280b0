-- How many mails of each hour are in each status, by when they were accepted; kept by whatever moves them.
CREATE TABLE hourly (
    hour INTEGER NOT NULL,  -- since 1970
    status TEXT NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (hour, status)
) STRICT, WITHOUT ROWID;

INSERT INTO hourly SELECT CAST(created_at / 3600 AS INTEGER), status, count(*) FROM mail GROUP BY 1, 2;
