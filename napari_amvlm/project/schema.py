"""The ledger's tables, as a list of migrations; the schema version is the number of those that ran.

A migration that was released is never edited: a change is a new entry at the end of `MIGRATIONS`.
"""

from __future__ import annotations

import sqlite3

APPLICATION_ID = int.from_bytes(b"AMVL", "big")
"""Written into the database header, so that a foreign SQLite file is told from a project."""

_FIRST = (
    "CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
    """CREATE TABLE images (
        id INTEGER PRIMARY KEY,
        sha256 TEXT NOT NULL UNIQUE,
        source TEXT NOT NULL CHECK (source IN ('file', 'array')),
        name TEXT NOT NULL,
        path TEXT NOT NULL,
        relative TEXT,
        stored INTEGER NOT NULL CHECK (stored IN (0, 1)),
        bytes INTEGER NOT NULL,
        height INTEGER NOT NULL CHECK (height > 0),
        width INTEGER NOT NULL CHECK (width > 0),
        added_at TEXT NOT NULL,
        accepted_index INTEGER UNIQUE,
        held_out INTEGER CHECK (held_out IN (0, 1))
    ) STRICT""",
    "CREATE TABLE folders (path TEXT PRIMARY KEY) STRICT",
    "CREATE TABLE prompts (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT",
    """CREATE TABLE corrections (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        image_id INTEGER NOT NULL REFERENCES images (id),
        prompt_id INTEGER NOT NULL REFERENCES prompts (id),
        state TEXT NOT NULL CHECK (state IN ('current', 'superseded', 'withdrawn')),
        mask_file TEXT NOT NULL,
        mask_sha256 TEXT NOT NULL,
        before_file TEXT,
        before_sha256 TEXT,
        reviewed_file TEXT,
        reviewed_sha256 TEXT,
        model TEXT,
        threshold REAL,
        author TEXT NOT NULL,
        accepted_at TEXT NOT NULL,
        ended_at TEXT,
        seconds_spent REAL NOT NULL
    ) STRICT""",
    "CREATE UNIQUE INDEX one_current_correction ON corrections (image_id, prompt_id) WHERE state = 'current'",
    "CREATE INDEX corrections_of_image ON corrections (image_id, state)",
    """CREATE TABLE models (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL,
        file TEXT NOT NULL UNIQUE,
        sha256 TEXT NOT NULL,
        parent TEXT,
        licence TEXT NOT NULL,
        scores TEXT NOT NULL,
        created_at TEXT NOT NULL
    ) STRICT""",
    """CREATE TABLE servings (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        model_id INTEGER REFERENCES models (id),
        served_at TEXT NOT NULL
    ) STRICT""",
    """CREATE TABLE runs (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        state TEXT NOT NULL CHECK (state IN ('running', 'finished', 'stopped', 'failed', 'interrupted')),
        parent TEXT,
        config TEXT NOT NULL,
        result TEXT NOT NULL,
        message TEXT,
        model_id INTEGER REFERENCES models (id),
        started_at TEXT NOT NULL,
        ended_at TEXT
    ) STRICT""",
    """CREATE TABLE run_corrections (
        run_id INTEGER NOT NULL REFERENCES runs (id),
        correction_id INTEGER NOT NULL REFERENCES corrections (id),
        role TEXT NOT NULL CHECK (role IN ('train', 'validate')),
        PRIMARY KEY (run_id, correction_id)
    ) STRICT, WITHOUT ROWID""",
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_FIRST,)
"""Statements that lead from schema version i to i + 1."""

SCHEMA_VERSION = len(MIGRATIONS)


def schema_version(connection: sqlite3.Connection) -> int:
    """Return the version that a ledger is at; 0 is an empty database."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a ledger to `SCHEMA_VERSION`; each step is one transaction, so a crash leaves a whole version.

    Parameters
    ----------
    connection
        An open connection in autocommit mode (`isolation_level=None`).
    """
    for version in range(schema_version(connection), SCHEMA_VERSION):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in MIGRATIONS[version]:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {version + 1}")
            connection.execute("COMMIT")
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
