"""Kernels that only this user reaches, that end with the process that started them, and what runs a notebook in one."""

import contextlib
import os
import platform
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import nbformat
from nbclient import NotebookClient
from traitlets.config import Config

from van_tutorial._files import remove_leftovers

LONGEST_SOCKET_FOLDER = 55  # characters; the operating system allows about 100 for the whole path of a socket
LONGEST_START = 120.0  # seconds until a kernel has looked whether the process that started it is there
LEFT_OUT = "[More output was left out.]\n"


class Client(NotebookClient):
    """Runs the cells of a notebook, shows its progress bars meanwhile, and can bound what is kept of its outputs.

    Attributes:
        progress: where progress bars, which begin with a carriage return, are passed on to; None for nowhere.
        most_output: characters kept of a notebook's outputs; verdicts and errors have as many again. None keeps all.
    """

    progress: TextIO | None = None
    most_output: int | None = None
    num_kept = 0
    is_in_bar = False

    def process_message(self, msg: Any, cell: Any, cell_index: int) -> Any:
        """Pass on bars, and drop an output for which there is no space."""
        kind, content = msg["msg_type"], msg["content"]
        if kind == "stream" and self.progress:
            self.pass_on(content["text"], self.progress)
        if self.most_output and kind in (
            "stream", "display_data", "update_display_data", "execute_result", "error",
        ):  # fmt: skip
            told = str(content)
            size = len(told) + 20 * told.count("\\n") + 100  # as it is written
            if self.num_kept + size > self.most_output * (2 if kind in ("execute_result", "error") else 1):
                if not any(output.get("text") == LEFT_OUT for output in cell.outputs):
                    cell.outputs.append(nbformat.v4.new_output("stream", name="stderr", text=LEFT_OUT))
                return None
            self.num_kept += size
        return super().process_message(msg, cell, cell_index)

    def pass_on(self, text: str, progress: TextIO) -> None:
        """Pass on the part of a text that belongs to a bar."""
        _, bar, rest = text.partition("\r")
        if bar:
            end = rest.rfind("\n") + 1 or len(rest)
            progress.write(bar + rest[:end])
            self.is_in_bar = not rest[:end].endswith("\n")
        elif self.is_in_bar:
            progress.write("\n")
            self.is_in_bar = False
        progress.flush()


@contextlib.contextmanager
def running(notebook: Any, home: str | Path | None = None, **choices: Any) -> Iterator[Client]:
    """Start the kernel of a notebook, and end it, after an error as well.

    Its sockets are files that only this user can open; on Windows it listens on loopback. It knows no startup files of
    the user's IPython, and leaves none behind.

    Args:
        notebook: in the nbformat; its cells get their outputs.
        home: folder that it runs in; None for one that is removed at the end.
        **choices: of nbclient's `NotebookClient`.

    Yields:
        The client: its `execute_cell` runs one cell. Not its `execute`, which takes Ctrl-C to itself.
    """
    with kernel_folder() as folder:
        files = {"ip": f"{folder}/kernel", "connection_file": f"{folder}/kernel.json"}
        private = {} if os.name == "nt" else {"KernelManager": {"transport": "ipc", **files}}
        client = Client(
            notebook,
            kernel_name="python3",
            resources={"metadata": {"path": str(home or folder)}},
            shutdown_kernel="immediate",
            store_widget_state=False,
            config=Config(private),
            extra_arguments=orphans_end(),
            **choices,
        )
        with client.setup_kernel(env={**os.environ, "IPYTHONDIR": str(folder)}):
            yield client


def orphans_end() -> list[str]:
    """Return a kernel's arguments that let it end, and say nothing, when the process that started it is killed.

    A kernel watches its parent, but misses one that ends before the watch begins.
    """
    watch = f"__import__('psutil').pid_exists({os.getpid()}) or __import__('os')._exit(1)"
    return ["--log-level=ERROR", f"--IPKernelApp.exec_lines={watch}"]


@contextlib.contextmanager
def kernel_folder() -> Iterator[Path]:
    """Make a folder of a kernel for a while; those that killed processes left beside it are removed.

    Not at once: the kernel of a killed process may still be starting, and would complain that its folder is missing.

    Yields:
        The folder.
    """
    parent = Path(tempfile.gettempdir())
    if len(str(parent)) > LONGEST_SOCKET_FOLDER and os.name != "nt":
        parent = Path("/tmp")  # there, and short enough, on every system with such sockets
    mark = f"van-kernel-{zlib.crc32(platform.node().encode()):08x}-"  # of this machine, in few characters
    remove_leftovers(parent, mark, min_age=LONGEST_START)
    own = f"{mark}{os.getpid()}-"
    with tempfile.TemporaryDirectory(prefix=own, dir=parent, ignore_cleanup_errors=True) as folder:
        yield Path(folder)
