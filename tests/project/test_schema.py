import sqlite3

import pytest

from napari_amvlm.project import schema
from napari_amvlm.project.schema import APPLICATION_ID, SCHEMA_VERSION, migrate, schema_version


@pytest.fixture
def empty():
    return sqlite3.connect(":memory:", isolation_level=None)


def test_migrate_brings_an_empty_database_to_the_newest_version(empty):
    migrate(empty)

    assert schema_version(empty) == SCHEMA_VERSION
    assert empty.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID


def test_migrate_runs_only_what_is_missing(empty, monkeypatch):
    migrate(empty)
    empty.execute("INSERT INTO facts VALUES ('name', 'kept')")
    grown = (*schema.MIGRATIONS, ("ALTER TABLE images ADD COLUMN zoom REAL",))
    monkeypatch.setattr(schema, "MIGRATIONS", grown)
    monkeypatch.setattr(schema, "SCHEMA_VERSION", len(grown))

    migrate(empty)

    assert schema_version(empty) == len(grown)
    assert "zoom" in [row[1] for row in empty.execute("PRAGMA table_info(images)")]
    assert empty.execute("SELECT value FROM facts").fetchone()[0] == "kept"


def test_a_failing_migration_leaves_the_version_before_it(empty, monkeypatch):
    migrate(empty)
    grown = (*schema.MIGRATIONS, ("CREATE TABLE half (x)", "this is not SQL"))
    monkeypatch.setattr(schema, "MIGRATIONS", grown)
    monkeypatch.setattr(schema, "SCHEMA_VERSION", len(grown))

    with pytest.raises(sqlite3.OperationalError):
        migrate(empty)

    assert schema_version(empty) == len(grown) - 1
    assert not empty.execute("SELECT 1 FROM sqlite_master WHERE name = 'half'").fetchall()


def test_the_database_itself_refuses_two_current_corrections(empty):
    migrate(empty)
    empty.execute("INSERT INTO prompts (id, text) VALUES (1, 'nuclei')")
    empty.execute(
        "INSERT INTO images (id, sha256, source, name, path, stored, bytes, height, width, added_at) "
        "VALUES (1, 'h', 'file', 'n', 'p', 0, 1, 1, 1, 't')"
    )
    insert = (
        "INSERT INTO corrections "
        "(image_id, prompt_id, state, mask_file, mask_sha256, author, accepted_at, seconds_spent) "
        "VALUES (1, 1, 'current', 'f', 's', 'a', 't', 0)"
    )
    empty.execute(insert)

    with pytest.raises(sqlite3.IntegrityError):
        empty.execute(insert)
