"""A run as it is recorded: what the playground draws, replays, keeps and opens again."""

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from van_tutorial import diagnostics, training
from van_tutorial._files import write_atomic
from van_tutorial._modes import eval_mode
from van_tutorial.data import Images
from van_tutorial.playground.settings import Settings

FORMAT = "van_tutorial playground run, version 1"
NUM_PROBES = 32  # test images at which gradients are correlated: 496 pairs
CURVES = ("loss", "test_loss", "train_accuracy", "test_accuracy", "gradient_correlation")
BY_LAYER = ("skip_weights", "multipliers", "grad_norms")


@dataclass
class Recording:
    """A run, moment by moment.

    Attributes:
        settings: all that determines the run.
        num_steps: steps of the whole training.
        predicted: for each layer the step at which the multipliers should have removed its skip; infinity where not
            within the training, empty where there are no skip weights.
        steps: the step of each moment, from 0 on.
        curves: by name, a number for each moment: "loss", "test_loss" (nats per image), "train_accuracy",
            "test_accuracy" (from 0 to 1) and "gradient_correlation" (mean over pairs of test images, of the output for
            class 0, in eval mode); NaN where there is none.
        layers: by name, L numbers for each moment: "skip_weights" and "multipliers", empty where there are none, and
            "grad_norms", |dC / dW_l| on the latest batch.
        outcome: in words, what became of the skips; empty while the run goes on.
    """

    settings: Settings
    num_steps: int
    predicted: list[float]
    steps: list[int] = field(default_factory=list)
    curves: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in CURVES})
    layers: dict[str, list[list[float]]] = field(default_factory=lambda: {name: [] for name in BY_LAYER})
    outcome: str = ""

    def __len__(self) -> int:
        """Return the number of moments."""
        return len(self.steps)

    @classmethod
    def begin(cls, settings: Settings, images: Images) -> "Recording":
        """Return the recording of a run that has not begun: one moment, with the initial skip weights."""
        num_images = len(images.train_labels)
        predicted = settings.predicted_steps(num_images)
        recording = cls(settings, settings.num_steps(num_images), predicted)
        alphas = [settings.skip_weight] * len(predicted)
        recording._append(0, {}, {"skip_weights": alphas, "multipliers": [0.0] * len(predicted)})
        return recording

    @classmethod
    def train(cls, settings: Settings, images: Images) -> "Recording":
        """Train a network here and now, without a panel, and return its recording.

        Args:
            settings: of the run.
            images: of the data set that they name.

        Returns:
            The whole run.
        """
        recording, trainer = cls.begin(settings, images), settings.trainer(images)
        for _ in trainer:
            recording.add(trainer)
        recording.conclude(trainer)
        return recording

    def conclude(self, trainer: training.Trainer) -> None:
        """Put into words what the run has come to."""
        removal = trainer.phase_out.removal if trainer.phase_out else ""
        self.outcome = f"{self.describe(-1)} {removal}".rstrip()

    def add(self, trainer: training.Trainer) -> None:
        """Add the moment of a trainer's latest record, with what can be measured in its network now.

        Args:
            trainer: of these settings; its network's modes, parameters and gradients are left as they are.
        """
        record, model = trainer.records[-1], trainer.model
        probes = trainer.examples.test[0][:NUM_PROBES]
        with eval_mode(model):
            matrix = diagnostics.gradient_correlation(model, probes, output=0)
        curves = {name: getattr(record, name) for name in CURVES[:-1]}
        if len(probes) > 1:
            curves["gradient_correlation"] = diagnostics.pair_correlation(matrix)
        self._append(
            record.step,
            curves,
            {
                "skip_weights": record.skip_weights.tolist(),
                "multipliers": record.multipliers.tolist(),
                "grad_norms": diagnostics.latest_weight_grad_norms(model).tolist(),
            },
        )

    def _append(self, step: int, curves: dict[str, float], layers: dict[str, list[float]]) -> None:
        self.steps.append(step)
        for name in CURVES:
            self.curves[name].append(curves.get(name, math.nan))
        for name in BY_LAYER:
            self.layers[name].append(layers.get(name, []))

    def at(self, step: int) -> int:
        """Return the index of the last moment at or before a step."""
        return max((index for index, there in enumerate(self.steps) if there <= step), default=0)

    def num_skips(self, index: int) -> int:
        """Return how many skips are left at a moment: those whose weight is not 0, or all that have none."""
        alphas = self.layers["skip_weights"][index]
        if self.settings.kind.is_weighted:
            return sum(alpha != 0.0 for alpha in alphas)
        return self.settings.depth if self.settings.kind.has_skip else 0

    def frame(self, index: int) -> dict[str, Any]:
        """Return what the drawing of the network needs of a moment.

        Returns:
            step, num_steps, depth, connection, has_skip, is_weighted, num_skips; and by layer, None where a number is
            not finite, or None in place of all where there is none: skip (the strength of the skip, from 0 to 1),
            multiplier, grad_norm; of these the largest over the run as largest_multiplier, and smallest and largest
            as grad_norm_range.
        """
        depth, kind = self.settings.depth, self.settings.kind
        multipliers = [value for row in self.layers["multipliers"] for value in row if math.isfinite(value)]
        fixed = 1.0 if kind.has_skip else 0.0
        norms = [norm for row in self.layers["grad_norms"] for norm in row if 0.0 < norm < math.inf]
        return {
            "step": self.steps[index],
            "num_steps": self.num_steps,
            "depth": depth,
            "connection": self.settings.connection,
            "has_skip": kind.has_skip,
            "is_weighted": kind.is_weighted,
            "num_skips": self.num_skips(index),
            "skip": finite(self.layers["skip_weights"][index]) or [fixed] * depth,
            "multiplier": finite(self.layers["multipliers"][index]) or None,
            "grad_norm": finite(self.layers["grad_norms"][index]) or None,
            "largest_multiplier": max(multipliers, default=0.0),
            "grad_norm_range": [min(norms), max(norms)] if norms else None,
        }

    def describe(self, index: int) -> str:
        """Say in words where the run is at a moment."""
        parts = [f"Step {self.steps[index]} of {self.num_steps}"]
        if self.settings.kind.has_skip:
            parts.append(f"{self.num_skips(index)} of {self.settings.depth} skips left")
        accuracy = self.curves["test_accuracy"][index]
        if not math.isnan(accuracy):
            parts.append(f"test accuracy {accuracy:.3f}")
        return ", ".join(parts) + "."

    def save(self, path: str | Path) -> None:
        """Write the run to a file, from which `open` reads it.

        Args:
            path: the file; under its name there is only ever a whole one.

        Raises:
            OSError: where it cannot be written; an older file of that name is unharmed.
        """
        numbers = {name: rounded(value) for name, value in vars(self).items() if name != "settings"}
        content = {"format": FORMAT, "settings": asdict(self.settings), **numbers}
        write_atomic(path, json.dumps(content, allow_nan=False).encode())

    @classmethod
    def open(cls, path: str | Path) -> "Recording":
        """Read a run that `save` has written.

        Args:
            path: the file; only numbers and texts are read from it, no code.

        Returns:
            The run.

        Raises:
            FileNotFoundError: where there is no such file.
            ValueError: where it is none of the playground's runs, or damaged.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            if content["format"] != FORMAT:
                raise ValueError(f"its format is {content['format']!r}, not {FORMAT!r}")
            recording = cls(
                Settings(**content["settings"]),
                int(content["num_steps"]),
                [math.inf if step is None else float(step) for step in content["predicted"]],
                [int(step) for step in content["steps"]],
                {name: [number(value) for value in content["curves"][name]] for name in CURVES},
                {name: [[number(v) for v in row] for row in content["layers"][name]] for name in BY_LAYER},
                str(content["outcome"]),
            )
            recording._check()
        except FileNotFoundError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{path} is not a run that the playground has saved, or is damaged: {error}."
            ) from error
        return recording

    def _check(self) -> None:
        """Raise unless every moment has all its numbers."""
        lengths = {len(values) for values in self.curves.values()} | {
            len(rows) for rows in self.layers.values()
        }
        if not self.steps or lengths != {len(self.steps)}:
            raise ValueError("its moments are not all there")
        widths = {len(row) for rows in self.layers.values() for row in rows}
        if not widths <= {0, self.settings.depth}:
            raise ValueError("its layers are not all there")


def finite(values: list[float]) -> list[float | None]:
    """Return numbers with None for those that are not finite, which JSON does not know."""
    return [value if math.isfinite(value) else None for value in values]


def number(value: float | None) -> float:
    """Return a number that was read from a file; None stands for one that is not finite."""
    return math.nan if value is None else float(value)


def rounded(value: Any) -> Any:
    """Return a nest of dictionaries and lists with its numbers to six digits, and None for those not finite."""
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [rounded(part) for part in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value
