"""Where the course's own files lie: beside the package in a checkout, inside it in an installed wheel."""

from pathlib import Path


def course_path(*parts: str) -> Path:
    """Return the path of a file or folder of the course, named from its root: `course_path("assets", "data")`."""
    package = Path(__file__).resolve().parent
    bundled = package / "_course"
    return (bundled if bundled.is_dir() else package.parent).joinpath(*parts)
