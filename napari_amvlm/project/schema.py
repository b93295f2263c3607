"""The ledger's tables, as a list of migrations; the schema version is the number of those that ran.

A migration that was released is never edited: a change is a new entry at the end of `MIGRATIONS`.
"""

from __future__ import annotations

import contextlib
import functools
import sqlite3

from napari_amvlm.wording import tidied

APPLICATION_ID = int.from_bytes(b"AMVL", "big")
"""Written into the database header, so that a foreign SQLite file is not taken for a project."""

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

_SECOND = (
    # Corrections: what is known of every pixel, objects, the working scale that a person chose, and where it came from.
    "ALTER TABLE corrections ADD COLUMN states_file TEXT",
    "ALTER TABLE corrections ADD COLUMN states_sha256 TEXT",
    "ALTER TABLE corrections ADD COLUMN objects_file TEXT",
    "ALTER TABLE corrections ADD COLUMN objects_sha256 TEXT",
    "ALTER TABLE corrections ADD COLUMN scale TEXT CHECK (scale IN ('tiles', 'whole'))",
    "ALTER TABLE corrections ADD COLUMN magnification REAL CHECK (magnification > 0)",
    "ALTER TABLE corrections ADD COLUMN origin TEXT",
    "CREATE INDEX corrections_of_prompt ON corrections (prompt_id, image_id)",
    """CREATE TABLE unlocked_objects (
        correction_id INTEGER NOT NULL REFERENCES corrections (id),
        object INTEGER NOT NULL CHECK (object > 0),
        author TEXT NOT NULL,
        unlocked_at TEXT NOT NULL,
        PRIMARY KEY (correction_id, object)
    ) STRICT, WITHOUT ROWID""",
    # Prompts: the order in which they win overlaps (0 first), and how a person set them.
    "ALTER TABLE prompts ADD COLUMN priority INTEGER",
    "ALTER TABLE prompts ADD COLUMN threshold REAL CHECK (threshold BETWEEN 0 AND 1)",
    "ALTER TABLE prompts ADD COLUMN scale TEXT CHECK (scale IN ('tiles', 'whole'))",
    "ALTER TABLE prompts ADD COLUMN magnification REAL CHECK (magnification > 0)",
    # Whether a person, and not the draw, decided what an image is for: then no draw changes it.
    "ALTER TABLE images ADD COLUMN decided_by_person INTEGER NOT NULL DEFAULT 0 CHECK (decided_by_person IN (0, 1))",
    """UPDATE images SET decided_by_person = 1 WHERE held_out IS NOT NULL
        AND (accepted_index IS NULL OR held_out != (accepted_index % 4 = 3))""",
    # The queue: every image as a whole, and the regions of those that are worked through in regions.
    """CREATE TABLE queue_items (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        image_id INTEGER NOT NULL REFERENCES images (id),
        y INTEGER, x INTEGER, height INTEGER, width INTEGER,
        status TEXT NOT NULL DEFAULT 'new' CHECK (status IN ('new', 'predicted', 'in work', 'accepted', 'skipped')),
        position INTEGER
    ) STRICT""",
    "CREATE UNIQUE INDEX one_item_of_image ON queue_items (image_id) WHERE y IS NULL",
    "CREATE UNIQUE INDEX one_item_of_region ON queue_items (image_id, y, x, height, width) WHERE y IS NOT NULL",
    "CREATE INDEX queue_by_status ON queue_items (status, position)",
    """CREATE TRIGGER queue_new_image AFTER INSERT ON images
        BEGIN INSERT INTO queue_items (image_id) VALUES (new.id); END""",
    """INSERT INTO queue_items (image_id, status) SELECT id, CASE
        WHEN id IN (SELECT image_id FROM corrections WHERE state = 'current' AND reviewed_file IS NULL) THEN 'accepted'
        WHEN id IN (SELECT image_id FROM corrections WHERE state = 'current') THEN 'in work' ELSE 'new' END
        FROM images ORDER BY id""",
    """CREATE TABLE tile_scores (
        item_id INTEGER NOT NULL REFERENCES queue_items (id),
        prompt_id INTEGER NOT NULL REFERENCES prompts (id),
        tiles BLOB NOT NULL,
        disagreement BLOB NOT NULL,
        entropy BLOB NOT NULL,
        disagreement_score REAL NOT NULL,
        entropy_score REAL NOT NULL,
        model TEXT,
        scored_at TEXT NOT NULL,
        PRIMARY KEY (item_id, prompt_id)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE item_features (
        item_id INTEGER PRIMARY KEY REFERENCES queue_items (id),
        feature BLOB NOT NULL,
        model TEXT
    ) STRICT""",
    # Judging: scores of single images before and after a run, what a run saw unlabelled, and models put aside.
    """CREATE TABLE run_scores (
        run_id INTEGER NOT NULL REFERENCES runs (id),
        image_id INTEGER NOT NULL REFERENCES images (id),
        before REAL,
        after REAL,
        PRIMARY KEY (run_id, image_id)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE run_unlabelled (
        run_id INTEGER NOT NULL REFERENCES runs (id),
        image_id INTEGER NOT NULL REFERENCES images (id),
        PRIMARY KEY (run_id, image_id)
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX runs_of_correction ON run_corrections (correction_id)",
    "ALTER TABLE models ADD COLUMN discarded_at TEXT",
)

_THIRD = (
    # Where on which slide an image lies: images that share pixels are held out together.
    "ALTER TABLE images ADD COLUMN slide TEXT",
    "ALTER TABLE images ADD COLUMN slide_y INTEGER",
    "ALTER TABLE images ADD COLUMN slide_x INTEGER",
    "CREATE INDEX images_of_slide ON images (slide, held_out) WHERE slide IS NOT NULL",
)

_FOURTH = (
    # Prompts: how each looks, in every image of the project; the colours are those of `prompts.PALETTE`.
    "ALTER TABLE prompts ADD COLUMN colour TEXT",
    "ALTER TABLE prompts ADD COLUMN separate_objects INTEGER NOT NULL DEFAULT 0 CHECK (separate_objects IN (0, 1))",
    """UPDATE prompts SET colour = CASE (id - 1) % 7
        WHEN 0 THEN '#e69f00' WHEN 1 THEN '#56b4e9' WHEN 2 THEN '#f0e442' WHEN 3 THEN '#009e73'
        WHEN 4 THEN '#d55e00' WHEN 5 THEN '#cc79a7' ELSE '#0072b2' END""",
    # Drafts: what was painted and not accepted, one for each prompt of an image.
    """CREATE TABLE drafts (
        image_id INTEGER NOT NULL REFERENCES images (id),
        prompt_id INTEGER NOT NULL REFERENCES prompts (id),
        base INTEGER REFERENCES corrections (id),
        mask_file TEXT NOT NULL, mask_sha256 TEXT NOT NULL,
        objects_file TEXT, objects_sha256 TEXT,
        reviewed_file TEXT, reviewed_sha256 TEXT,
        before_file TEXT, before_sha256 TEXT,
        model TEXT,
        threshold REAL,
        seconds_spent REAL NOT NULL,
        scale TEXT CHECK (scale IN ('tiles', 'whole')),
        magnification REAL CHECK (magnification > 0),
        kept_at TEXT NOT NULL,
        PRIMARY KEY (image_id, prompt_id)
    ) STRICT, WITHOUT ROWID""",
    # Decisions: each accept, and each reject (no correction), in order; an undo marks the last one.
    """CREATE TABLE decisions (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        image_id INTEGER NOT NULL REFERENCES images (id),
        prompt_id INTEGER NOT NULL REFERENCES prompts (id),
        correction_id INTEGER REFERENCES corrections (id),
        decided_at TEXT NOT NULL,
        author TEXT NOT NULL,
        undone INTEGER NOT NULL DEFAULT 0 CHECK (undone IN (0, 1)),
        held_out_before INTEGER CHECK (held_out_before IN (-1, 0))
    ) STRICT""",
    "CREATE INDEX decisions_of_prompt ON decisions (image_id, prompt_id, undone)",
    "CREATE INDEX decisions_of_correction ON decisions (correction_id)",
    """INSERT INTO decisions (image_id, prompt_id, correction_id, decided_at, author)
        SELECT image_id, prompt_id, correction, decided_at, author FROM (
            SELECT image_id, prompt_id, id AS correction, accepted_at AS decided_at, author, id AS number, 0 AS rejected
            FROM corrections
            UNION ALL
            SELECT image_id, prompt_id, NULL, COALESCE(ended_at, accepted_at), author, id, 1
            FROM corrections WHERE state = 'withdrawn'
        ) ORDER BY number, rejected""",
    # Up to here all prompts of an image were painted in one flat layer, so that one could hide another.
    """INSERT INTO facts SELECT 'last correction of a shared layer', CAST(MAX(id) AS TEXT) FROM corrections
        HAVING MAX(id) IS NOT NULL""",
)

_FIFTH = (
    # Judging by prompt: of which accepted mask a score is, and whether a person corrected that mask. Runs of older
    # versions have the mean over prompts in run_scores alone.
    """CREATE TABLE run_prompt_scores (
        run_id INTEGER NOT NULL REFERENCES runs (id),
        image_id INTEGER NOT NULL REFERENCES images (id),
        prompt_id INTEGER NOT NULL REFERENCES prompts (id),
        correction_id INTEGER NOT NULL REFERENCES corrections (id),
        corrected INTEGER NOT NULL CHECK (corrected IN (0, 1)),
        before REAL,
        after REAL,
        PRIMARY KEY (run_id, image_id, prompt_id)
    ) STRICT, WITHOUT ROWID""",
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_FIRST, _SECOND, _THIRD, _FOURTH, _FIFTH)
"""Statements that lead from schema version i to i + 1."""

SCHEMA_VERSION = len(MIGRATIONS)


def schema_version(connection: sqlite3.Connection) -> int:
    """Return the version that a ledger is at; 0 is an empty database."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def lost_columns(connection: sqlite3.Connection) -> list[str]:
    """Return the columns, as `table.column`, that a ledger of the present version must have and this one lacks."""
    return sorted(_columns_of_today() - _columns(connection))


@functools.cache
def _columns_of_today() -> set[str]:
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as whole:
        migrate(whole)
        return _columns(whole)


def _columns(connection: sqlite3.Connection) -> set[str]:
    query = """SELECT made.name || '.' || of.name FROM sqlite_schema AS made, pragma_table_info(made.name) AS of
        WHERE made.type = 'table'"""
    return {row[0] for row in connection.execute(query)}


def strange_programs(connection: sqlite3.Connection) -> list[str]:
    """Return kind and name of each trigger and view that no migration made: they would run when tables are used."""
    own = {" ".join(statement.split()) for migration in MIGRATIONS for statement in migration}
    programs = connection.execute("SELECT type, name, sql FROM sqlite_schema WHERE type IN ('trigger', 'view')")
    return [f"{kind} {name!r}" for kind, name, sql in programs if " ".join(str(sql).split()) not in own]


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


def has_untidy_prompts(connection: sqlite3.Connection) -> bool:
    """Tell whether an earlier version wrote prompts in another way than they are written now."""
    return any(tidied(text) != text for (text,) in connection.execute("SELECT text FROM prompts"))


def tidy_prompts(connection: sqlite3.Connection) -> None:
    """Write prompts of earlier versions with composed letters; one whose twin is there gets its id to its name."""
    for number, text in connection.execute("SELECT id, text FROM prompts").fetchall():
        if tidied(text) != text:
            twin = connection.execute("SELECT 1 FROM prompts WHERE text = ?", (tidied(text),)).fetchone()
            name = f"{tidied(text)} ({number})" if twin else tidied(text)
            connection.execute("UPDATE prompts SET text = ? WHERE id = ?", (name, number))
