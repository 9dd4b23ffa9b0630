"""Which configuration applies, what it says, and what DRAGONS' INI means here."""

from __future__ import annotations

from pathlib import Path

import pytest
from f2yaml.interpreter.config import Configuration, DatabaseChoice, find_config, load_config
from f2yaml.schema.problems import Place, RequestError

YAML = "f2yaml: 1\nkind: config\ndatabases:\n"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("F2YAMLRC", raising=False)
    return folder


def yaml(path: Path, *databases: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(YAML + "".join(f"  - {entry}\n" for entry in databases))
    return path


def ini(path: Path, *lines: str) -> Path:
    path.write_text("[calibs]\ndatabases = " + "\n            ".join(lines) + "\n")
    return path


# which file ---------------------------------------------------------------------------------
def test_without_a_file_the_built_in_default_applies(tmp_path: Path) -> None:
    config = load_config(cwd=tmp_path, environ={})
    default = DatabaseChoice(tmp_path / "calibrations" / "f2yaml.db", True, True, built_in=True)
    assert config == Configuration(None, (default,))


def test_the_order_of_look_up(tmp_path: Path, home: Path) -> None:
    def found(named: Path | None = None, **environ: str) -> Path | None:
        return find_config(named, cwd=tmp_path, environ=environ, home=home)

    assert found() is None
    last = yaml(home / ".config" / "f2yaml" / "config.yaml", "{path: a.db}")
    assert found() == last
    local = yaml(tmp_path / "f2yaml.yaml", "{path: a.db}")
    assert found() == local
    variable = yaml(tmp_path / "v.yaml", "{path: a.db}")
    assert found(F2YAMLRC=str(variable)) == variable
    assert found(F2YAMLRC="~/.config/f2yaml/config.yaml") == last
    assert found(F2YAMLRC="") == local
    named = yaml(tmp_path / "n.yaml", "{path: a.db}")
    assert found(Path("n.yaml"), F2YAMLRC=str(variable)) == named


@pytest.mark.parametrize("origin", ["--config", "$F2YAMLRC"])
def test_a_named_file_that_is_missing_is_an_error(tmp_path: Path, origin: str) -> None:
    named = Path("none.yaml") if origin == "--config" else None
    environ = {} if named else {"F2YAMLRC": "none.yaml"}
    with pytest.raises(RequestError) as caught:
        load_config(named, cwd=tmp_path, environ=environ)
    assert caught.value.problems[0].what == (
        f"{origin} names {tmp_path}/none.yaml, which is not a file"
    )


# YAML ---------------------------------------------------------------------------------------
def test_paths_are_expanded_and_start_at_the_file(tmp_path: Path, home: Path) -> None:
    (tmp_path / "folder").mkdir()
    file = yaml(
        tmp_path / "setup" / "f2.yaml",
        "{path: local.db, get: true, store: true}",
        "{path: $SITE/cal.db, get: true, store: false}",
        "{path: '${SITE}_2/', get: true, store: false}",
        "{path: ~/mine.db, get: false, store: true}",
        "{path: ../folder, get: true, store: false}",
    )
    config = load_config(file, cwd=tmp_path, environ={"SITE": "/site"})
    assert config.file == file
    assert [(c.path, c.get, c.store) for c in config.databases] == [
        (tmp_path / "setup" / "local.db", True, True),
        (Path("/site/cal.db"), True, False),
        (Path("/site_2/cal_manager.db"), True, False),
        (home / "mine.db", False, True),
        (tmp_path / "setup" / ".." / "folder" / "cal_manager.db", True, False),
    ]
    assert not any(choice.built_in for choice in config.databases)


def test_an_unset_variable_is_pointed_at(tmp_path: Path) -> None:
    file = yaml(tmp_path / "f2yaml.yaml", "{path: a.db}", "{path: $NOWHERE/b.db}")
    with pytest.raises(RequestError, match=r"\$NOWHERE is not set") as caught:
        load_config(cwd=tmp_path, environ={})
    where = caught.value.problems[0].where
    assert isinstance(where, Place)
    assert (where.file, where.line) == (str(file), 5)


def test_a_wrong_key_is_pointed_at(tmp_path: Path) -> None:
    yaml(tmp_path / "f2yaml.yaml", "{path: a.db, sotre: true}")
    with pytest.raises(RequestError, match="sotre") as caught:
        load_config(cwd=tmp_path, environ={})
    where = caught.value.problems[0].where
    assert isinstance(where, Place)
    assert where.line == 4


def test_settings_that_are_not_about_databases_keep_the_built_in_one(tmp_path: Path) -> None:
    file = tmp_path / "f2yaml.yaml"
    file.write_text(
        "f2yaml: 1\nkind: config\nlog: $LOGS/f2.log\ndefaults:\n  skyCorrect: {dilation: 3}\n"
    )
    config = load_config(cwd=tmp_path, environ={"LOGS": "/logs"})
    assert config.databases == Configuration.built_in(tmp_path).databases
    assert config.log == Path("/logs/f2.log")
    assert config.defaults == {"skyCorrect": {"dilation": 3}}
    file.write_text("f2yaml: 1\nkind: config\ndatabases: []\n")
    assert load_config(cwd=tmp_path, environ={}).databases == ()


# DRAGONS' INI -------------------------------------------------------------------------------
def test_an_ini_file_with_all_its_forms(tmp_path: Path, home: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    file = ini(
        tmp_path / "dragonsrc",
        "/data/f2.db get store  # the usual one",
        "# a comment line",
        "/data/only_get.db",
        "/data/fed.db store",
        '"/data/with blank/100%.db" get',
        "~/mine.db get",
        "$SITE/site.db get",
        f"{folder} get",
        "new/ get store",
        "https://archive.gemini.edu get",
        "bareword get",
    )
    config = load_config(file, cwd=tmp_path, environ={"SITE": "/site"})
    assert [(str(c.path), c.get, c.store) for c in config.databases] == [
        ("/data/f2.db", True, True),
        ("/data/only_get.db", True, False),
        ("/data/fed.db", False, True),
        ("/data/with blank/100%.db", True, False),
        (f"{home}/mine.db", True, False),
        ("/site/site.db", True, False),
        (f"{folder}/cal_manager.db", True, False),
        (f"{tmp_path}/new/cal_manager.db", True, True),
        (f"{tmp_path}/bareword", True, False),
    ]
    assert config.notes == ("https://archive.gemini.edu: remote databases are not asked",)


def test_the_old_style_of_ini(tmp_path: Path) -> None:
    file = tmp_path / "rsys.cfg"
    file.write_text("; old\n[calibs]\nstandalone = True\ndatabase_dir = /data/cal\n")
    config = load_config(file, cwd=tmp_path, environ={})
    assert config.databases == (DatabaseChoice(Path("/data/cal/cal_manager.db"), True, True),)


def test_all_faults_of_an_ini_file_are_reported_with_their_lines(tmp_path: Path) -> None:
    file = ini(tmp_path / "rc", "/a.db get", "/b.db stroe", "$NONE/c.db", '"/d.db get')
    with pytest.raises(RequestError) as caught:
        load_config(file, cwd=tmp_path, environ={})
    told = [(p.what, p.where.line) for p in caught.value.problems if isinstance(p.where, Place)]
    assert told == [
        ("unknown flag `stroe`", 3),
        ("$NONE is not set", 4),
        ('`"/d.db get` has a quote that is not closed', 5),
    ]
    assert caught.value.problems[0].fix == "did you mean `store`?"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[calibs]\n", "names no local database"),
        ("[calibs]\ndatabases = https://a.edu get\n", "names no local database"),
        ("[interactive]\nbrowser = x\n", "names no local database"),
        ("[calibs\n", "is not a DRAGONS configuration"),
        ("[calibs]\ndatabases = /a\ndatabases = /b\n", "is not a DRAGONS configuration"),
    ],
)
def test_ini_files_that_say_nothing_usable(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "rc"
    file.write_text(text)
    with pytest.raises(RequestError, match=message):
        load_config(file, cwd=tmp_path, environ={})


def test_an_ini_file_is_only_read_when_named_on_the_command_line(tmp_path: Path) -> None:
    file = ini(tmp_path / "rc", "/a.db get")
    with pytest.raises(RequestError):
        load_config(cwd=tmp_path, environ={"F2YAMLRC": str(file)})


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    file = tmp_path / "rc"
    file.write_bytes(b"\xff\xfe[\x00")
    with pytest.raises(RequestError):
        load_config(file, cwd=tmp_path, environ={})
