"""Files that are whole or not there."""

import contextlib
import os
import tempfile
from pathlib import Path


def write_atomic(path: str | Path, content: bytes) -> None:
    """Write a file so that under its name there is ever only the old content or the whole new one.

    Args:
        path: the file; its folder is made where it is missing.
        content: the bytes.

    Raises:
        OSError: where it could not be written (a full disk, no permission); what was there before is unharmed.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError as error:
        raise OSError(
            error.errno, f"{path} could not be written and was left as it was ({error.strerror}): free some space or name another folder"
        ) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
