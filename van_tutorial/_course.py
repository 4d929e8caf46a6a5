"""Where the course's own files lie, and how a learner gets a copy of them to work in."""

import hashlib
import json
from pathlib import Path
from typing import Any

from van_tutorial._files import write_atomic

PACKAGE = Path(__file__).resolve().parent
LEARNERS = ("notebooks/*.ipynb", "assets/figures/*", "docs/*.md", "docs/evidence/*")
INSTRUCTORS = ("notebooks/instructor/*.ipynb",)
PREDICTIONS = "predictions.json"  # beside a learner's notebooks: what was predicted, by number
GIVEN = ".van_tutorial.json"  # in a copy: the checksum of each file as it was given out last


def is_installed() -> bool:
    """Tell whether the course lies inside an installed package, where a reinstall would delete a learner's work."""
    return (PACKAGE / "_course").is_dir()


def course_path(*parts: str) -> Path:
    """Return the path of a file or folder of the course, named from its root: `course_path("assets", "data")`."""
    return (PACKAGE / "_course" if is_installed() else PACKAGE.parent).joinpath(*parts)


def copy_course(into: str | Path, has_solutions: bool = False) -> dict[str, list[str]]:
    """Copy the learner's lessons, their figures and the documents into a folder; nobody's work is written over.

    Called again, by a later version too, it adds what is not there and replaces what is as it was given out. A file
    that was changed since stays as it is.

    Args:
        into: the folder; it is made where it is missing.
        has_solutions: whether the instructor's lessons are copied as well.

    Returns:
        Names of files, from the folder: "new" ones, those "updated", and those "kept" though this version has another
        edition, said once for each edition.

    Raises:
        OSError: where a file cannot be read or written.
    """
    root, into = course_path(), Path(into)
    given = read_given(into / GIVEN)
    done: dict[str, list[str]] = {"new": [], "updated": [], "kept": []}
    patterns = LEARNERS + INSTRUCTORS * has_solutions
    for source in sorted(path for pattern in patterns for path in root.glob(pattern) if path.is_file()):
        name, content = source.relative_to(root).as_posix(), source.read_bytes()
        digest, there = hashlib.sha256(content).hexdigest(), into / name
        found = hashlib.sha256(there.read_bytes()).hexdigest() if there.exists() else None
        if found is None or (found != digest and found == given.get(name)):
            write_atomic(there, content)
            done["new" if found is None else "updated"].append(name)
        elif found != digest and given.get(name) != digest:
            done["kept"].append(name)
        given[name] = digest
    write_atomic(into / GIVEN, json.dumps(given, indent=1).encode())
    return done


def read_given(path: Path) -> dict[str, Any]:
    """Return what was given out by name; nothing where that is not known."""
    try:
        given = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return given if isinstance(given, dict) else {}
