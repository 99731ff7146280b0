-- The same as `tally` for the mails of each hour, by when they were accepted. What is long past is added up in the rows
-- of number 0, too.
CREATE TABLE hourly (
    hour bigint NOT NULL,  -- since 1970
    connection integer NOT NULL,
    status text COLLATE "C" NOT NULL,
    number bigint NOT NULL,
    PRIMARY KEY (hour, connection, status)
) WITH (fillfactor = 50);

INSERT INTO hourly SELECT floor(created_at / 3600)::bigint, 0, status, count(*) FROM mail GROUP BY 1, 3;
