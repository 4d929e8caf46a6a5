"""The learner's copy of the course: whole, and never over anyone's work."""

import shutil
import zipfile

import pytest

from van_tutorial import _course, cli


@pytest.fixture
def release(tmp_path, monkeypatch):
    """An installed package with a small course, whose files a later version may change."""
    package = tmp_path / "site-packages" / "van_tutorial"
    for name in ("notebooks/00_start_here.ipynb", "notebooks/01_next.ipynb", "notebooks/instructor/01_next.ipynb",
                 "notebooks/src/01_next.py", "assets/figures/a.png", "docs/glossary.md"):  # fmt: skip
        path = package / "_course" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name}, first edition")
    monkeypatch.setattr(_course, "PACKAGE", package)
    return package / "_course"


def files_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_copy_holds_the_learners_lessons_and_no_solutions(release, tmp_path):
    done = _course.copy_course(tmp_path / "mine")
    expected = [
        "assets/figures/a.png",
        "docs/glossary.md",
        "notebooks/00_start_here.ipynb",
        "notebooks/01_next.ipynb",
    ]
    assert done == {"new": expected, "updated": [], "kept": []}
    assert files_in(tmp_path / "mine") == [_course.GIVEN, *expected]
    _course.copy_course(tmp_path / "taught", has_solutions=True)
    assert "notebooks/instructor/01_next.ipynb" in files_in(tmp_path / "taught")


def test_a_later_version_updates_what_nobody_changed_and_names_what_it_kept_once(release, tmp_path):
    mine = tmp_path / "mine"
    _course.copy_course(mine)
    (mine / "notebooks" / "01_next.ipynb").write_text("my answers")
    for name in ("00_start_here", "01_next"):
        (release / "notebooks" / f"{name}.ipynb").write_text("second edition")
    (release / "notebooks" / "02_added.ipynb").write_text("a new lesson")
    done = _course.copy_course(mine)
    assert done == {
        "new": ["notebooks/02_added.ipynb"],
        "updated": ["notebooks/00_start_here.ipynb"],
        "kept": ["notebooks/01_next.ipynb"],
    }
    assert (mine / "notebooks" / "00_start_here.ipynb").read_text() == "second edition"
    assert (mine / "notebooks" / "01_next.ipynb").read_text() == "my answers"
    assert _course.copy_course(mine) == {"new": [], "updated": [], "kept": []}
    assert (mine / "notebooks" / "01_next.ipynb").read_text() == "my answers"


@pytest.mark.parametrize("known", [None, "{", "[1]", "[" * 100_000])
def test_a_folder_of_which_nothing_is_known_keeps_its_files(release, tmp_path, known):
    mine = tmp_path / "mine"
    (mine / "notebooks").mkdir(parents=True)
    (mine / "notebooks" / "01_next.ipynb").write_text("somebody's")
    if known is not None:
        (mine / _course.GIVEN).write_text(known)
    assert _course.copy_course(mine)["kept"] == ["notebooks/01_next.ipynb"]
    assert (mine / "notebooks" / "01_next.ipynb").read_text() == "somebody's"


def test_the_command_copies_into_a_folder_or_a_new_zip_file(release, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["course", "mine"]) == 0
    assert "4 new files, 0 updated" in capsys.readouterr().out
    assert cli.main(["course", "class.zip", "--instructor"]) == 0
    names = zipfile.ZipFile("class.zip").namelist()
    assert "van_tutorial_course/notebooks/instructor/01_next.ipynb" in names
    assert cli.main(["course", "class.zip"]) == 1
    assert "class.zip exists: remove it first" in capsys.readouterr().err


def launched(monkeypatch, arguments):
    """The command that takes the process's place."""

    def execute(path, command):
        raise SystemExit(" ".join(command))

    monkeypatch.setattr(cli.os, "execv", execute)
    with pytest.raises(SystemExit) as ended:
        cli.main(["lab", *arguments])
    return ended.value.code


def test_lab_of_an_installed_package_opens_a_copy_of_the_learners_own(release, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        command = launched(monkeypatch, [])
        assert f"root_dir={tmp_path / 'van_tutorial_course'}" in command
        assert "default_url=/lab/tree/notebooks/00_start_here.ipynb" in command
        assert str(tmp_path / "van_tutorial_course") in capsys.readouterr().out
        (tmp_path / "van_tutorial_course" / "notebooks" / "01_next.ipynb").write_text("my answers")
    shutil.rmtree(release)
    assert (tmp_path / "van_tutorial_course" / "notebooks" / "01_next.ipynb").read_text() == "my answers"


def test_lab_opens_the_checkout_or_the_folder_that_is_named(tmp_path, monkeypatch):
    assert f"root_dir={_course.course_path()}" in launched(monkeypatch, [])
    assert f"root_dir={tmp_path}" in launched(monkeypatch, ["--folder", str(tmp_path)])
    assert list(tmp_path.iterdir()) == []
