"""`pocketbert new` on tables of many origins: it prints how it read the file, or refuses it in one line."""

import pytest

from foreign_tables import READ, REFUSED
from pocketbert.cli import app


def new(root, name: str, content: str | bytes) -> int:
    path = root / name if name else root / "folder"
    if name:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    else:
        path.mkdir()
    return app.main(["new", str(path), "--output", str(root / "recipe.yaml")])


@pytest.mark.parametrize("kind", READ)
def test_new_prints_how_it_read_the_table(tmp_path, capsys, kind):
    name, content, reading = READ[kind]
    assert new(tmp_path, name, content) == 0
    printed = capsys.readouterr().out
    assert f"{name}: {reading}" in printed
    recipe = (tmp_path / "recipe.yaml").read_text(encoding="utf-8")
    assert "text:" in recipe and "label: label" in recipe


@pytest.mark.parametrize("kind", REFUSED)
def test_new_refuses_in_one_line(tmp_path, capsys, kind):
    name, content, message = REFUSED[kind]
    message = "contains no train file, such as train.csv; the folder is empty" if kind == "a folder" else message
    assert new(tmp_path, name, content) == 2
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert line.startswith("error: ") and message in line
    assert not (tmp_path / "recipe.yaml").exists()


def test_the_name_of_a_recipe_has_no_suffix(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name, content, _ = READ["gzip"]
    (tmp_path / name).write_bytes(content)
    assert app.main(["new", name]) == 0
    assert (tmp_path / "t.yaml").read_text(encoding="utf-8").splitlines()[2].startswith("name: t")


def test_new_writes_the_numbers_of_columns_without_names(tmp_path, capsys):
    lines = "".join(f"a text {index},{'yes' if index % 2 else 'no'}\n" for index in range(8))
    assert new(tmp_path, "t.csv", lines) == 0
    assert "no header (the columns are 1 to 2)" in capsys.readouterr().out
    recipe = (tmp_path / "recipe.yaml").read_text(encoding="utf-8")
    assert "text: ['1']" in recipe and "label: '2'" in recipe
