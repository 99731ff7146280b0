-- What all processes go by about a provider. Its score is each process's own; a pause, a closing and a bench are not,
-- or N processes would try a dead provider N times as often. Times are Unix seconds by the server's clock.
CREATE TABLE agreement (
    name text COLLATE "C" PRIMARY KEY,
    version bigint NOT NULL DEFAULT 0,       -- grows with every change
    paused boolean NOT NULL DEFAULT false,
    resumes bigint NOT NULL DEFAULT 0,
    closed_until double precision NOT NULL DEFAULT 0,
    benched boolean NOT NULL DEFAULT false,
    bench_until double precision NOT NULL DEFAULT 0,
    bench_by text NOT NULL DEFAULT '',       -- the process that changed the bench last
    bench_number bigint NOT NULL DEFAULT 0,  -- grows with every change of the bench
    memory json NOT NULL DEFAULT '{}',       -- what else a bench is known by
    probe_by text,                           -- the process that tries the provider now; null when it is done
    probe_until double precision NOT NULL DEFAULT 0
);

-- Who was paused by hand stays so.
INSERT INTO agreement (name, paused)
    SELECT name, coalesce((state->'memory'->>'paused')::boolean, false) FROM provider;
