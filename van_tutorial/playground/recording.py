"""A run as it is recorded: what the playground draws, replays, keeps and opens again."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

from van_tutorial import diagnostics, models, training
from van_tutorial._checks import check_range
from van_tutorial._course import course_path
from van_tutorial._files import write_atomic
from van_tutorial._modes import eval_mode
from van_tutorial.data import Images
from van_tutorial.playground.settings import Settings, names_of
from van_tutorial.plots.style import numbers, style
from van_tutorial.training.evaluation import evaluate

FORMAT = "van_tutorial playground run, version 1"
NUM_PROBES = 32  # test images at which gradients are correlated: 496 pairs
CURVES = ("loss", "test_loss", "train_accuracy", "test_accuracy", "gradient_correlation")
BEFORE = {"norm_shift": 0.0}  # of runs that were saved when this was no setting
SIZE = ("data", "depth", "width", "normalization", "init")
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
        by_hand: in words, each skip weight that a hand has set: the settings alone do not determine such a run.
    """

    settings: Settings
    num_steps: int
    predicted: list[float]
    steps: list[int] = field(default_factory=list)
    curves: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in CURVES})
    layers: dict[str, list[list[float]]] = field(default_factory=lambda: {name: [] for name in BY_LAYER})
    outcome: str = ""
    by_hand: list[str] = field(default_factory=list)

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
        by_hand = f"By hand: {'; '.join(self.by_hand)}." if self.by_hand else ""
        self.outcome = " ".join(part for part in (self.describe(-1), removal, by_hand) if part)

    def set_skip(self, trainer: training.Trainer, layer: int, weight: float) -> None:
        """Set one skip weight of the network that is being trained, between two steps.

        Args:
            trainer: of this run.
            layer: its index, from 0.
            weight: the skip weight, in [0, 1]: 0 cuts the skip.

        Raises:
            ValueError: for a weight outside [0, 1], or a network without skip weights.
        """
        check_range("A skip weight", weight, 0.0, 1.0)
        if trainer.phase_out is None:
            raise ValueError(
                f"The skips of a {self.settings.connection} network have no weight: train a VAN."
            )
        with torch.no_grad():
            trainer.phase_out.skip_weight[layer] = weight
        done = f"set to {weight:.2f}" if weight else "cut"
        self.by_hand.append(f"skip of layer {layer + 1} {done} at step {trainer.step}")

    def answer(self, trainer: training.Trainer) -> None:
        """Add the moment after a skip weight was set in a network that is not being trained: what is it worth now?"""
        loss, accuracy = evaluate(trainer.model, *trainer.examples.test)
        curves = {name: values[-1] for name, values in self.curves.items()}
        layers = {name: rows[-1] for name, rows in self.layers.items()}
        layers["skip_weights"] = models.skip_weights(trainer.model).tolist()
        self._append(trainer.step, curves | {"test_loss": loss, "test_accuracy": accuracy}, layers)
        self.conclude(trainer)

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

    def frame(self, index: int, others: Sequence["Recording"] = ()) -> dict[str, Any]:
        """Return what the drawing of the network needs of a moment.

        Args:
            index: of the moment.
            others: runs whose accuracy at the same step is laid beside that of this one.

        Returns:
            step, num_steps, depth, connection, has_skip, is_weighted, num_skips; and by layer, None where a number is
            not finite, or None in place of all where there is none: skip (the strength of the skip, from 0 to 1),
            multiplier, grad_norm; of these the largest over the run as largest_multiplier, and smallest and largest
            as grad_norm_range. scores has name, color, accuracy and num_skips of this run and of the others.
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
            "scores": self.scores(index, others),
        }

    def scores(self, index: int, others: Sequence["Recording"]) -> list[dict[str, Any]]:
        """Return name, colour, accuracy and number of skips of this run at a moment, and of others at the same step."""
        runs, step = (self, *others), self.steps[index]
        names = names_of([run.settings for run in runs])
        looks = map(style, numbers(run.settings.network for run in runs))
        moments = [index % len(self), *(run.at(step) for run in others)]
        return [
            {
                "name": name,
                "color": look["line"]["color"],
                "accuracy": finite([run.curves["test_accuracy"][at]])[0],
                "num_skips": run.num_skips(at),
            }
            for name, look, run, at in zip(names, looks, runs, moments, strict=True)
        ]

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
        write_atomic(path, json.dumps({"format": FORMAT, **self.content()}, allow_nan=False).encode())

    def content(self, digits: int = 6) -> dict[str, Any]:
        """Return the run as JSON has it, its numbers to so many digits."""
        numbers = {name: rounded(value, digits) for name, value in vars(self).items() if name != "settings"}
        return {"settings": asdict(self.settings), **numbers}

    @classmethod
    def of(cls, content: dict[str, Any]) -> "Recording":
        """Return the run that `content` has given."""
        recording = cls(
            Settings(**{**BEFORE, **content["settings"]}),
            int(content["num_steps"]),
            [math.inf if step is None else float(step) for step in content["predicted"]],
            [int(step) for step in content["steps"]],
            {name: [number(value) for value in content["curves"][name]] for name in CURVES},
            {name: [[number(v) for v in row] for row in content["layers"][name]] for name in BY_LAYER},
            str(content["outcome"]),
            [str(change) for change in content.get("by_hand", ())],
        )
        recording._check()
        return recording

    def thinned(self, most: int) -> "Recording":
        """Leave out moments and the multipliers, for a small file.

        Args:
            most: moments to keep, at least 2; the first and the last are among them.

        Returns:
            A run of its own.
        """
        every = math.ceil((len(self) - 1) / (most - 1)) or 1
        kept = sorted({*range(0, len(self), every), len(self) - 1})
        curves = {name: [values[index] for index in kept] for name, values in self.curves.items()}
        layers = {name: [rows[index] for index in kept] for name, rows in self.layers.items()}
        layers["multipliers"] = [[] for _ in kept]
        return replace(self, steps=[self.steps[index] for index in kept], curves=curves, layers=layers)

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
            return cls.of(content)
        except FileNotFoundError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{path} is not a run that the playground has saved, or is damaged: {error}."
            ) from error

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


def rounded(value: Any, digits: int = 6) -> Any:
    """Return a nest of dictionaries and lists with its numbers to so many digits, and None for those not finite."""
    if isinstance(value, dict):
        return {key: rounded(part, digits) for key, part in value.items()}
    if isinstance(value, list):
        return [rounded(part, digits) for part in value]
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") if math.isfinite(value) else None
    return value


@cache
def recorded() -> tuple[Recording, ...]:
    """Read the runs of assets/results/playground.json, made by `python -m tools.record playground`.

    Returns:
        All runs, with few moments and digits and without multipliers; read once.
    """
    text = course_path("assets", "results", "playground.json").read_text(encoding="utf-8")
    return tuple(Recording.of(row["run"]) for row in json.loads(text)["runs"])


def beside(run: Recording) -> list[Recording]:
    """Find the recorded residual and plain runs of the size and length of a run.

    Args:
        run: any run, from its first moment on.

    Returns:
        The recorded runs, in the order of the file; none where that size was not recorded.
    """

    def size(run: Recording) -> list[Any]:
        return [run.num_steps, *(getattr(run.settings, name) for name in SIZE)]

    return [there for there in recorded() if not there.settings.kind.is_weighted and size(there) == size(run)]
