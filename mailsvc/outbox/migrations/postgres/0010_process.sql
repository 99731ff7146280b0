-- What each process has seen and counted: for /providers and /metrics of all of them. Gone when it has ended.
CREATE TABLE process (
    name text COLLATE "C" PRIMARY KEY,
    seen_at double precision NOT NULL,  -- by the server's clock
    sight json NOT NULL
);
