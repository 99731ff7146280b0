"""How many mails of each hour are in each status: written down by the commit that moves them."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from ...hours import Hour, hour_of
from ...model import Status

ADD = """
INSERT INTO hourly (hour, status, number) VALUES (?, ?, ?)
ON CONFLICT (hour, status) DO UPDATE SET number = number + excluded.number
"""
COUNTS = "SELECT status, sum(number) FROM hourly GROUP BY status"
HOURS = "SELECT hour, status, number FROM hourly WHERE hour BETWEEN ? AND ? AND number <> 0 ORDER BY hour"
FORGET = "DELETE FROM hourly WHERE number = 0 AND hour < ?"


def add(connection: sqlite3.Connection, moved: Mapping[tuple[int, Status], int]) -> None:
    """Add what a transaction has moved."""
    rows = [(hour, status.value, number) for (hour, status), number in moved.items() if number]
    if rows:
        connection.executemany(ADD, rows)


def counts(connection: sqlite3.Connection) -> dict[Status, int]:
    """How many mails are in each status."""
    return {Status(status): number for status, number in connection.execute(COUNTS)}


def hours(connection: sqlite3.Connection, first: float, last: float) -> list[Hour]:
    """The hours from one time to another, both included, that have mails."""
    return Hour.grouped(connection.execute(HOURS, (hour_of(first), hour_of(last))))
