"""Files that are whole or not there."""

import contextlib
import os
import threading
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
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise OSError(
            error.errno,
            f"{path} could not be written and was left as it was ({error.strerror}): "
            "free some space or name another folder",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
