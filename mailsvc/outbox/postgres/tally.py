"""How many mails are in each status, kept by every statement that moves mails. See the table in the migration."""

from __future__ import annotations

# The end of a statement: adds up `moves (status, number)`, which the statement has to define. It reads what the others
# return, so it runs last and waits for nobody while others wait for it.
TALLY = """tallied AS (
    INSERT INTO tally (connection, status, number)
    SELECT pg_backend_pid(), status, sum(number) FROM moves GROUP BY status HAVING sum(number) <> 0
    ON CONFLICT (connection, status) DO UPDATE SET number = tally.number + excluded.number
)"""
COUNTS = "SELECT status, sum(number)::bigint FROM tally GROUP BY status"
# The number of a connection may be given to a new one meanwhile: its rows are locked or not there, never counted twice.
COMPACT = """
WITH gone AS (
    DELETE FROM tally WHERE connection <> 0
        AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = tally.connection)
    RETURNING status, number
)
INSERT INTO tally (connection, status, number) SELECT 0, status, sum(number) FROM gone GROUP BY status
ON CONFLICT (connection, status) DO UPDATE SET number = tally.number + excluded.number
"""
