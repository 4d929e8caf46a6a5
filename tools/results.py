"""How a recorded result is written: with its question, its command, and what it ran on."""

import json
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from van_tutorial._course import course_path
from van_tutorial._files import write_atomic

# Simultaneously, those next to the input faster: how skips were removed before the removal became sequential.
ALL_AT_ONCE: dict[str, Any] = {"stagger": 0.0, "dual_lr_spread": 5.0}


class Recording:
    """A recording that goes on: single-threaded, timed, and written whole.

    Args:
        name: of the file in assets/results, without its ending.
        question: what the result answers.
        command: makes it again.
        folder: where the file is written; None for assets/results.
    """

    def __init__(self, name: str, question: str, command: str, folder: Path | None = None) -> None:
        torch.set_num_threads(1)
        self.question, self.command = question, command
        self.started = time.monotonic()
        self.hours_before = 0.0
        self.path = (folder or course_path("assets", "results")) / f"{name}.json"

    def resume(self) -> list[dict[str, Any]]:
        """Return the runs that the file holds already, where they answer the same question; else none."""
        if not self.path.exists():
            return []
        there = json.loads(self.path.read_text(encoding="utf-8"))
        if (there["question"], there["command"]) != (self.question, self.command):
            return []
        self.hours_before = there["hours"]
        return list(there["runs"])

    def write(self, runs: list[dict[str, Any]], hours: float | None = None) -> Path:
        """Write the file, a row a line, and return its path; `hours` is for runs that were timed elsewhere."""
        if hours is None:
            hours = self.hours_before + (time.monotonic() - self.started) / 3600
        head = {
            "question": self.question,
            "command": self.command,
            "hardware": f"{platform.machine()} CPU, {torch.get_num_threads()} thread",
            "versions": {
                "python": platform.python_version(),
                **{package: version(package) for package in ("torch", "numpy")},
            },
            "hours": round(hours, 2),
        }
        lines = ",\n".join(f"  {json.dumps(run)}" for run in runs)
        text = json.dumps(head, indent=1).removesuffix("\n}") + f',\n "runs": [\n{lines}\n ]\n}}\n'
        write_atomic(self.path, text.encode())
        return self.path
