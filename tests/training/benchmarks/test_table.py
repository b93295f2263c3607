"""The table of the benchmark: its lines, its two forms, its parts, and the machine's description."""

import io

import pytest
from rich.console import Console
from typer import Exit

from napari_amvlm.errors import InputError
from training.benchmarks import parts
from training.benchmarks.__main__ import bench
from training.benchmarks.conditions import Options, describe
from training.benchmarks.table import (
    BEGIN,
    END,
    Row,
    beside,
    faster,
    markdown_table,
    missing,
    read_rows,
    share,
    terminal_table,
    within,
    write_into,
    write_rows,
)

ROWS = [
    faster("first prompt", 0.5, 4.0, "SAM", "median of 5", least=10),
    faster("next prompt", 0.1, 0.2, "its decoder", "median of 5", least=1),
    share("throughput", 9.0, 10.0, "tiles/s", "bare", "four rounds", least=0.85),
    within("p99", 45.0, 33.0, "ms", "ticks"),
    beside("p50", 17.0, 16.0, "ms", "idle", "ticks"),
    missing("seams", "ended after 9 s"),
]


def test_ratios_say_what_they_are_of_and_whether_the_aim_is_met():
    assert [row.ratio for row in ROWS[:3]] == [8.0, 2.0, 0.9]
    assert [row.met for row in ROWS] == [False, True, True, False, None, None]
    assert ROWS[0].proportion == "8 (at least 10: no)"
    assert ROWS[4].proportion == "1.06"
    assert ROWS[2].proportion == "0.9 (at least 0.85: yes)"
    assert ROWS[5].proportion == ""
    assert beside("p50", 17.0, 0.0, "ms", "idle", "ticks").ratio is None


def test_lines_travel_between_processes(tmp_path):
    write_rows(ROWS, tmp_path / "rows.json")

    assert read_rows(tmp_path / "rows.json") == ROWS
    (tmp_path / "rows.json").write_text('[{"what": 1}]')
    with pytest.raises(InputError, match=r"rows\.json"):
        read_rows(tmp_path / "rows.json")


def test_the_terminal_shows_every_cell():
    console = Console(width=200, file=io.StringIO(), record=True)

    console.print(terminal_table([*ROWS, Row("in [brackets]", "1 s", "how")]))

    shown = console.export_text()
    for words in ("first prompt", "8 (at least 10: no)", "SAM: 4 s, over ours", "four rounds", "in [brackets]"):
        assert words in shown


def test_a_page_keeps_what_stands_around_the_table(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n\n{BEGIN}\nold\n{END}\n\nafter\n", encoding="utf-8")
    text = markdown_table([Row("a|b", "1 s", "how\nmade")], {"cores": "2"}, "2026-01-01")

    write_into(page, text)
    write_into(page, text)

    words = page.read_text(encoding="utf-8")
    assert words.startswith("before\n")
    assert words.endswith("\n\nafter\n")
    assert "old" not in words
    assert words.count("| a\\|b | 1 s |  |  | how made |") == 1
    assert "| cores | 2 |" in words
    page.write_text("no marks", encoding="utf-8")
    with pytest.raises(InputError, match="should hold a line"):
        write_into(page, text)
    with pytest.raises(InputError, match="cannot be read"):
        write_into(tmp_path / "none.md", text)


def test_the_documentation_has_a_place_for_the_table(tmp_path):
    from training.benchmarks.conditions import SAMPLES

    words = (SAMPLES.parent / "docs" / "benchmarks.md").read_text(encoding="utf-8")

    assert words.count(BEGIN) == words.count(END) == 1
    assert all(f"`{name}`" in words for name in parts.PARTS)


def test_the_machine_is_described_by_the_program():
    found = describe()

    assert {"processor", "cores", "memory", "versions", "computes"} <= set(found)
    assert all(found.values())
    assert "torch" in found["versions"]


def test_parts_are_chosen_by_name():
    assert parts.chosen([]) == list(parts.PARTS)
    assert parts.chosen(["slides", "prompts"]) == ["prompts", "slides"]
    with pytest.raises(InputError, match="no part 'slide' of the benchmark; choose of: start-up"):
        parts.chosen(["slide"])


def test_a_part_that_fails_is_a_line_with_the_reason():
    rows = parts.run_part("memory-4k", Options(model="nowhere"))

    assert len(rows) == 1
    assert rows[0].measured == "not measured"
    assert "exit code 1" in rows[0].against
    assert "no model 'nowhere'" in rows[0].against


def test_the_benchmark_fails_where_a_part_did(tmp_path, monkeypatch, capsys):
    lines = {"slides": ROWS[0], "prompts": ROWS[5]}
    monkeypatch.setattr("training.benchmarks.__main__.run_part", lambda name, _options: [lines[name]])

    bench(only=["slides"])
    with pytest.raises(Exit) as ended:
        bench(only=["slides", "prompts"], json_file=tmp_path / "rows.json")

    assert ended.value.exit_code == 1
    assert "Not measured, or not to the end: seams;" in capsys.readouterr().err
    assert (tmp_path / "rows.json").is_file()


def test_a_part_that_takes_too_long_is_ended(monkeypatch):
    monkeypatch.setitem(parts.PARTS, "prompts", parts.Part("training.benchmarks.prompt_latency:rows", 0.01))

    rows = parts.run_part("prompts", Options())

    assert [row.what for row in rows] == ["prompts"]
    assert "ended after 0.01 s" in rows[0].against
