"""Files that are whole or not there."""

import contextlib
import glob
import os
import platform
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def write_atomic(path: str | Path, content: bytes) -> None:
    """Write a file so that under its name there is ever only the old content or the whole new one.

    Args:
        path: the file; its folder is made where it is missing.
        content: the bytes.

    Raises:
        OSError: where it could not be written (a full disk, no permission); what was there before is unharmed.
    """
    path = Path(path)
    mark = f".{path.name[:40]}.{platform.node()[:40]}-"
    temporary = path.with_name(f"{mark}{os.getpid()}-{threading.get_ident()}")
    with clear_errors(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            remove_leftovers(path.parent, mark)
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def clear_errors(path: Path) -> Iterator[None]:
    """Say in one sentence what could not be written and what to do, where the operating system says only why."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.filename and not str(error.filename).startswith(str(path.parent)):
            reason += f": {error.filename}"
        raise OSError(
            error.errno,
            f"{path} could not be written and was left as it was ({reason}): "
            "free some space or name another folder",
        ) from error


def csv_bytes(table: "pd.DataFrame") -> bytes:
    r"""Return a table as a CSV file's content, whose texts no spreadsheet takes for formulas.

    A text that begins with =, +, -, @, a tab or a line end gets an apostrophe in front; numbers stay as they are.

    Args:
        table: its index is left out.

    Returns:
        The bytes, in UTF-8.

    Example:
        >>> import pandas as pd
        >>> csv_bytes(pd.DataFrame({"name": ["=1+1"], "value": [-1]}))
        b"name,value\n'=1+1,-1\n"

    Source:
        OWASP, CSV Injection.
    """

    def as_text(value: Any) -> Any:
        return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value

    shown = table.rename(columns=as_text)
    for name in shown.select_dtypes(exclude="number"):
        shown[name] = shown[name].map(as_text)
    return shown.to_csv(index=False).encode("utf-8", "backslashreplace")


def remove_leftovers(folder: Path, mark: str, min_age: float = 0.0) -> None:
    """Remove what processes of this machine, whose number stands behind a mark, had made when they were killed.

    Args:
        folder: where it lies.
        mark: how its names begin.
        min_age: seconds since it was last written to; what is younger stays.
    """
    if os.name == "nt":  # where to ask for a process by a signal would end it
        return
    for left in folder.glob(f"{glob.escape(mark)}*-*"):
        process = left.name.removeprefix(mark).partition("-")[0]
        # Whose process lives, or is another user's; or what has no process in its name; or was removed meanwhile.
        with contextlib.suppress(PermissionError, ValueError, FileNotFoundError):
            try:
                os.kill(int(process), 0)
            except (ProcessLookupError, OverflowError):
                if not min_age or time.time() - left.stat().st_mtime >= min_age:
                    remove(left)


def remove(*paths: Path) -> None:
    """Remove what lies at some paths, folders or, where someone put one there, files."""
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
