"""How many mails are in each status, kept by every statement that moves mails. See the table in the migration."""

from __future__ import annotations

# The end of a statement: adds up `moves (status, number, created_at)`, which the statement has to define. It reads what
# the others return, so it runs last and waits for nobody while others wait for it.
TALLY = """tallied AS (
    INSERT INTO tally (connection, status, number)
    SELECT pg_backend_pid(), status, sum(number) FROM moves GROUP BY status HAVING sum(number) <> 0
    ON CONFLICT (connection, status) DO UPDATE SET number = tally.number + excluded.number
), tallied_by_hour AS (
    INSERT INTO hourly (hour, connection, status, number)
    SELECT floor(created_at / 3600)::bigint AS hour, pg_backend_pid(), status, sum(number) FROM moves
    GROUP BY hour, status HAVING sum(number) <> 0
    ON CONFLICT (hour, connection, status) DO UPDATE SET number = hourly.number + excluded.number
)"""
COUNTS = "SELECT status, sum(number)::bigint FROM tally GROUP BY status"
# Less than none: a process of a version that did not count by hour, still running after an upgrade, took the mails in.
HOURS = """
SELECT hour, status, sum(number)::bigint FROM hourly WHERE hour BETWEEN $1 AND $2
GROUP BY hour, status HAVING sum(number) > 0 ORDER BY hour
"""
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
# What is long past is moved by few connections any more. A row that is being written is left for the next time.
COMPACT_HOURS = """
WITH gone AS (
    DELETE FROM hourly WHERE (hour, connection, status) IN (
        SELECT hour, connection, status FROM hourly WHERE connection <> 0
            AND (hour < $1 OR NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = hourly.connection))
        ORDER BY hour LIMIT $2 FOR UPDATE SKIP LOCKED)
    RETURNING hour, status, number
)
INSERT INTO hourly (hour, connection, status, number)
SELECT hour, 0, status, sum(number) FROM gone GROUP BY hour, status ORDER BY hour, status
ON CONFLICT (hour, connection, status) DO UPDATE SET number = hourly.number + excluded.number
"""
FORGET_HOURS = "DELETE FROM hourly WHERE hour < $1 AND connection = 0 AND number = 0"
