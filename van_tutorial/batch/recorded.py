"""Results that were recorded once, with all that is needed to make them again."""

import json
from dataclasses import dataclass

import pandas as pd

from van_tutorial._checks import check_choice
from van_tutorial._course import course_path


@dataclass(frozen=True)
class Recorded:
    """A recorded result.

    Attributes:
        question: what it answers.
        command: makes it again.
        hardware: what it ran on.
        versions: of Python and the packages that matter.
        table: one row per run.
    """

    question: str
    command: str
    hardware: str
    versions: dict[str, str]
    table: pd.DataFrame

    def summary(self, by: str = "network", values: str = "test_accuracy") -> pd.DataFrame:
        """Return mean and standard deviation of a column for each group of runs.

        Args:
            by: the column that names the group.
            values: the column that is averaged.

        Returns:
            One row per group in the order of the table: the group, runs, mean, sd (with n - 1), smallest, largest.
        """
        grouped = self.table.groupby(by, sort=False)[values]
        summary = grouped.agg(["count", "mean", "std", "min", "max"]).reset_index()
        summary.columns = pd.Index([by, "runs", "mean", "sd", "smallest", "largest"])
        return summary


def recorded(name: str) -> Recorded:
    """Read a recorded result of the course.

    Args:
        name: of a file in assets/results, without its ending.

    Returns:
        The result, with the command that makes it again.

    Raises:
        ValueError: where there is none of that name.
    """
    folder = course_path("assets", "results")
    check_choice("name", name, sorted(path.stem for path in folder.glob("*.json")))
    content = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    return Recorded(
        question=content["question"],
        command=content["command"],
        hardware=content["hardware"],
        versions=content["versions"],
        table=pd.DataFrame(content["runs"]),
    )
