"""The playground: choose, train, watch the skips being removed, go back in time, compare, keep."""

import copy
import hashlib
import html
import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import ipywidgets

from van_tutorial import connections, data, playground, training
from van_tutorial.data import Images
from van_tutorial.playground import Recording, Settings
from van_tutorial.widgets.controls import controls_for
from van_tutorial.widgets.network import NetworkDrawing
from van_tutorial.widgets.panel import button, free
from van_tutorial.widgets.replay import Replay
from van_tutorial.widgets.run import RunPanel, RunState

FOLDER = "runs/playground"
MOST_PINNED = 5  # as many as there are colours, dashes and markers left
OF_WEIGHTED_SKIPS = (
    "skip",
    "skip_weight",
    "dual_lr",
    "skip_lr",
    "damping",
    "stagger",
)  # no other network has these
# Label, icon and tooltip of every button, by its name; those of the first row come first.
BUTTONS = {
    "train": ("Train", "play", "Train with these settings; goes on where a run was paused"),
    "pause": ("Pause", "pause", "Hold after the present step; Train goes on from there"),
    "step": (
        "Step",
        "step-forward",
        "Do one training step and hold: of the paused run, or else of a new one",
    ),
    "stop": ("Stop", "stop", "End this run after the present step and keep what is there"),
    "reset": ("Reset", "undo", "Put this run away; pinned ones stay"),
    "latest": ("Latest", "fast-forward", "Show the last recorded moment, and follow the training"),
    "pin": ("Pin", "thumb-tack", "Keep this run in the figure, to lay the next over it"),
    "save": ("Save", "save", "Write this run to a file"),
    "export": ("Export", "share", "Write one HTML page that replays this run without a kernel"),
    "open": ("Open", "folder-open", "Show the saved run that is chosen in the list"),
    "apply": ("Apply", "check", "Set all controls as the text says"),
}
OF_A_RUN = 5  # buttons in the first row


@dataclass(kw_only=True)
class PlaygroundState(RunState):
    """What the playground knows, besides its training.

    Attributes:
        run: what is recorded of the run that is shown.
        pinned: runs to compare with.
    """

    run: Recording
    pinned: list[Recording] = field(default_factory=list)


def is_here(name: str, root: str | Path | None) -> bool:
    """Return whether a data set can be chosen; without a folder for the full ones only the embedded one can."""
    try:
        return data.find(name, root) is not None
    except data.DataError:
        return False


class Playground(RunPanel):
    """Train a network by button and watch its skips being removed; go back in time, compare runs, keep them.

        panel = Playground(images, depth=20)
        panel.train.click()

    Training goes on in a thread of its own, which ends with every pause, and draws at most five times a second.

    Args:
        images: the data; None loads the set that the settings name.
        settings: the initial ones; None takes the defaults.
        folder: for runs and pages that are kept.
        root: of the full data sets, as for `data.load`.
        chosen: some settings by their names, instead of those in `settings`.

    Attributes:
        train, pause, step, stop, reset: the buttons of a run.
        scrubber: the moment that is shown; play runs through all of them, latest goes to the last.
        color: what the colour of a layer means.
        drawing: the network.
        pin, save, open, export: the buttons that keep a run; `kept` lists the runs in the folder.
        text, apply: the settings as a short text, and the button that takes them over.
        predicted: when the skips should be removed, in words.
        state: all that is known.

    Raises:
        ValueError: for settings outside their bounds, or fewer training images than a batch.
    """

    label_width, control_width = "10.5em", "28em"
    state: PlaygroundState

    def __init__(
        self,
        images: Images | None = None,
        settings: Settings | None = None,
        folder: str | Path = FOLDER,
        root: str | Path | None = None,
        **chosen: Any,
    ) -> None:
        if images is not None:
            chosen.setdefault("data", images.name)
        settings = replace(settings or Settings(), **chosen)
        self._root, self._folder = root, Path(folder)
        self._sets = {settings.data: images} if images is not None else {}
        self._is_ready = self._is_moving = False
        images = self._images(settings.data)
        settings = settings.sized(len(images.train_labels))
        run = Recording.begin(settings, images)
        self.state = PlaygroundState(run=run)
        here = [name for name in data.NAMES if name == settings.data or is_here(name, root)]
        self._make_parts()
        sets = {"data": tuple(dict.fromkeys((*here, settings.data)))}
        controls = controls_for(asdict(settings), sets)
        super().__init__(
            controls, {name: button(*said) for name, said in BUTTONS.items()}, playground.charts(run)
        )
        self._connect()
        self._is_ready = True
        self._list_kept()
        self._preview()
        self._enable()
        warm_up(images)

    # What there is to see and to press

    def _make_parts(self) -> None:
        """Make what is neither a control of the settings nor a button."""
        self.kept = ipywidgets.Dropdown(
            description="saved runs", tooltip="Runs that were saved", style={"description_width": "6em"}
        )
        self.text = ipywidgets.Text(
            description="settings as text",
            tooltip="What differs from the defaults; copy it to share it, or paste one and press Apply",
            continuous_update=False,
            style={"description_width": "8em"},
            layout={"width": "34em"},
        )
        self.color = ipywidgets.Dropdown(
            options=("gradient norm", "multiplier"),
            description="colour by",
            tooltip="What the colour of a layer means",
        )
        self.scrubber = ipywidgets.IntSlider(
            min=0,
            max=0,
            description="moment",
            tooltip="Which recorded moment is shown: drag, or use the arrow keys",
            readout=False,
            layout={"width": "28em"},
            style={"description_width": "5em"},
        )
        self.play = ipywidgets.Play(min=0, max=0, interval=120, tooltip="Replay the run")
        self.drawing = NetworkDrawing()
        self.predicted, self.moment, self._table = ipywidgets.HTML(), ipywidgets.HTML(), ipywidgets.VBox()

    def _lay_out(self) -> list[ipywidgets.Widget]:
        """Return controls in columns, then the buttons, the network, the scrubber, the figure and what is kept."""
        wrap = {"flex_flow": "row wrap", "align_items": "center"}
        columns = {"grid_template_columns": "repeat(auto-fill, minmax(29em, 1fr))", "width": "100%"}
        rows = self._controls | {"dual_lr": ipywidgets.VBox([self.dual_lr, self.predicted])}
        self._linked = ipywidgets.jslink((self.play, "value"), (self.scrubber, "value"))
        return [
            ipywidgets.GridBox(list(rows.values()), layout=columns),
            ipywidgets.HBox([*list(self._buttons.values())[:OF_A_RUN], self.color], layout=wrap),
            self.status,
            self.drawing,
            ipywidgets.HBox([self.scrubber, self.play, self.latest, self.moment], layout=wrap),
            self.figure,
            ipywidgets.HBox([self.pin, self.save, self.export, self.kept, self.open], layout=wrap),
            ipywidgets.HBox([self.text, self.apply], layout=wrap),
            self._table,
        ]

    def _connect(self) -> None:
        """Have every button and control call what it stands for."""
        self._on_click(
            {
                "train": self._start,
                "step": lambda: self._start(1),
                "pause": lambda: self._halt("paused"),
                "stop": self._stop,
                "reset": self._reset,
                "latest": lambda: setattr(self.scrubber, "value", self.scrubber.max),
                "pin": self._pin,
                "save": self._save,
                "export": self._export,
                "open": self._open,
                "apply": lambda: self._take_over(Settings.from_text(self.text.value)),
            }
        )
        for control in self._controls.values():
            control.observe(lambda _: self._preview(), "value")
        self.scrubber.observe(lambda _: self._show(), "value")
        self.color.observe(lambda _: setattr(self.drawing, "color_by", self.color.value), "value")

    def _enable(self) -> None:
        """Let those buttons be pressed that mean something now."""
        with self.state.lock:
            phase, has_run = self.state.phase, len(self.state.run) > 1
            is_running, is_open = phase == "running", phase in ("running", "paused")
            super()._enable()
            self.step.disabled = is_running
            self.train.description = "Go on" if phase == "paused" else "Train"
            self.pause.disabled = not is_running
            self.reset.disabled = phase == "new"
            self.pin.disabled = is_running or not has_run or len(self.state.pinned) >= MOST_PINNED
            self.save.disabled = self.export.disabled = is_running or not has_run
            self.open.disabled = is_open or not self.kept.options
            self.apply.disabled = is_open
            for control in self._controls.values():
                control.disabled = is_open
            for _, restore, _ in (row.children for row in self.pinned_rows):
                restore.disabled = is_open
            if not connections.CONNECTIONS[self.connection.value].is_weighted:
                for name in OF_WEIGHTED_SKIPS:
                    self._controls[name].disabled = True

    # Settings

    def _images(self, name: str) -> Images:
        """Return a data set, loaded once."""
        if name not in self._sets:
            self._sets[name] = data.load(name, self._root)
        return self._sets[name]

    def _chosen(self) -> Settings:
        """Return the settings that the controls stand at."""
        return Settings(**self.settings)

    def _preview(self) -> None:
        """Say what the settings come to, and where there is no run, draw the network that they give."""
        if not self._is_ready:
            return
        try:
            settings = self._chosen()
            run = Recording.begin(settings, self._images(settings.data))
        except Exception as error:  # a control has nobody else to tell
            what = "These do not go together" if isinstance(error, ValueError) else "Not available"
            self.predicted.value = ""
            self.status.value = f"<b>{what}:</b> {html.escape(str(error))}"
            self._enable()
            return
        self.text.value = settings.to_text()
        self.predicted.value = html.escape(describe_prediction(run))
        if self.state.phase == "new":
            self.state.run = run
            self.status.value = "Choose, then press Train."
            self._show_run()
        elif self.status.value.startswith("<b>"):  # the complaint is no longer true
            self.state.error = None
            self._say()
        self._enable()

    def _take_over(self, settings: Settings) -> None:
        """Set every control, or none; `None` for the dual learning rate stands for the default one."""
        if settings.data not in self.data.options:
            raise ValueError(
                f"The data set {settings.data!r} is not on this machine: `van-tutorial data verify` says how to get it."
            )
        values = asdict(settings.sized(len(self._images(settings.data).train_labels)))
        for name, spec in self._specs.items():
            spec.check(values[name])
        self._is_ready = False
        try:
            for name, value in values.items():
                self._controls[name].value = value
        finally:
            self._is_ready = True
        self._preview()

    # A run

    def _begin(self, settings: Settings) -> training.Trainer:
        images = self._images(settings.data)
        trainer = settings.trainer(images, stop=self.state.stop)
        self.state.run = Recording.begin(settings, images)
        self._show_run()
        return trainer

    def _record(self, trainer: training.Trainer) -> None:
        self.state.run.add(trainer)

    def _conclude(self, trainer: training.Trainer) -> None:
        run = self.state.run
        if self.state.error is None:
            run.conclude(trainer)
        else:
            run.outcome = f"{run.describe(-1)} Ended by an error: {self.state.error}"

    def _describe(self) -> str:
        run = self.state.run
        return run.describe(-1) if self.state.phase == "running" else run.outcome

    def _reset(self) -> None:
        """Put the run away."""
        self._halt("stopped")
        self._join()
        self.state.phase, self.state.trainer, self.state.error = "new", None, None
        self._preview()

    # Drawing

    def _show_run(self) -> None:
        """Show another run, at its last moment."""
        with self.state.lock:
            self._move(is_following=True)
            self._draw()

    def _show_latest(self) -> None:
        """Show what was recorded since, unless somebody is looking at an earlier moment."""
        self._move()
        self._draw()

    def _move(self, is_following: bool = False) -> None:
        """Give the scrubber the run's range, and put one that stood at the end there again, without a redraw for each.

        Where it stands is looked at last: a hand may move it meanwhile.
        """
        before, last = self.scrubber.max, len(self.state.run) - 1
        self._is_moving = True
        self.scrubber.max = self.play.max = last
        if is_following or self.scrubber.value == before:
            self.scrubber.value = last
        self._is_moving = False

    def _show(self) -> None:
        """Show the moment at which the scrubber stands."""
        with self.state.lock:
            if not self._is_moving:
                self._draw()

    def _draw(self) -> None:
        """Draw the network and bring the figure up to date."""
        run = self.state.run
        index = min(self.scrubber.value, len(run) - 1)
        self.drawing.frame = run.frame(index)
        self.moment.value = html.escape(run.describe(index))
        playground.redraw(self.figure, run, self.state.pinned, index)

    # What is kept

    def _pin(self) -> None:
        """Keep the run in the figure and in the table."""
        if self.state.run in self.state.pinned:
            raise ValueError("This run is pinned already.")
        if len(self.state.pinned) == MOST_PINNED:
            raise ValueError(
                f"{MOST_PINNED} runs are pinned, and there is no look left for another: unpin one first."
            )
        self._set_pinned([*self.state.pinned, copy.deepcopy(self.state.run)])  # a paused one may go on

    def _unpin(self, run: Recording) -> None:
        self._set_pinned([pinned for pinned in self.state.pinned if pinned is not run])

    def _set_pinned(self, runs: list[Recording]) -> None:
        """Compare with these runs: their traces in the figure, and a row for each."""
        with self.state.lock, self.figure.batch_update():
            self.state.pinned = runs
            run = self.state.run
            step = run.steps[min(self.scrubber.value, len(run) - 1)]
            self.figure.data = self.figure.data[: playground.NUM_TRACES]
            for chart, trace in playground.pinned_traces(runs, step):
                self.figure.add_trace(trace, *playground.CHARTS[chart][:2])
        for row in self._table.children:
            free(row)
        self._table.children = [self._row(number, run) for number, run in enumerate(runs, 1)]
        self._enable()

    def _row(self, number: int, run: Recording) -> ipywidgets.Widget:
        """Return the row of a pinned run."""
        restore = button("Restore", "sliders", f"Set all controls as they were for pinned run {number}")
        unpin = button("Unpin", "times", f"Take pinned run {number} out of the figure")
        restore.on_click(self._guarded(lambda: self._take_over(run.settings)))
        unpin.on_click(self._guarded(lambda: self._unpin(run)))
        words = ipywidgets.HTML(
            f"<b>Pinned {number}</b> <code>{html.escape(run.settings.to_text())}</code> "
            f"{html.escape(run.outcome)}",
            layout={"width": "calc(100% - 14em)"},
        )
        return ipywidgets.HBox([words, restore, unpin])

    def _path(self, ending: str) -> Path:
        """Return the file of the run: the same for the same settings and the same length."""
        run = self.state.run
        text = f"{asdict(run.settings)} {run.steps}"
        settings = run.settings
        name = f"{settings.connection}-{settings.depth}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
        return self._folder / f"{name}.{ending}"

    def _save(self) -> None:
        """Write the run to a file."""
        path = self._path("json")
        self.state.run.save(path)
        self._list_kept(path.stem)
        self.status.value = f"Saved as {html.escape(str(path))}."
        self._enable()

    def _export(self) -> None:
        """Write the page that replays the run."""
        path = self._path("html")
        self.replay().save(path)
        self.status.value = (
            f"Exported: open {html.escape(str(path))} in a browser. It needs no kernel and no network."
        )

    def _list_kept(self, chosen: str | None = None) -> None:
        """List the runs in the folder."""
        names = sorted(path.stem for path in self._folder.glob("*.json"))
        self.kept.options = names
        if names:
            self.kept.value = chosen if chosen in names else names[0]

    def _open(self) -> None:
        """Show a run from its file, and set the controls as they were for it."""
        run = Recording.open(self._folder / f"{self.kept.value}.json")
        self._halt("stopped")
        self._join()
        kept = self._keep()
        self.state.phase, self.state.trainer, self.state.run = "opened", None, run
        self._show_run()
        self._enable()
        self._say()
        self.status.value += kept
        try:
            self._take_over(run.settings)
        except Exception as error:  # made elsewhere, with another data set or other bounds
            self.status.value += f" Its settings cannot be set here: {html.escape(str(error))}"

    def _keep(self) -> str:
        """Write the run to a file where another is about to take its place unsaved, and say so."""
        run = self.state.run
        if run is None or len(run.steps) < 2 or self.state.phase == "opened" or self._path("json").exists():
            return ""
        path = self._path("json")
        run.save(path)
        self._list_kept(self.kept.value)
        return f" The run before was not saved: it is kept as {html.escape(str(path))}."

    @property
    def pinned_rows(self) -> tuple[ipywidgets.Widget, ...]:
        """The table of pinned runs, row by row: words, Restore, Unpin."""
        return tuple(self._table.children)

    def close(self) -> None:
        """Stop the training and free every control."""
        super().close()
        free(self._linked)

    def replay(self) -> Replay:
        """Return the run that is shown, with the pinned ones, to be shown where no kernel is."""
        return Replay(self.state.run, tuple(self.state.pinned))


def describe_prediction(run: Recording) -> str:
    """Say in words when the skips of a run should be removed."""
    if not run.predicted:
        return "No skip weights: nothing to phase out."
    cap = math.ceil(training.TrainConfig().removing_by * run.num_steps)
    steps = [step for step in run.predicted if step <= run.num_steps]
    if not steps:
        return f"Predicted: no skip is removed by its multiplier in {run.num_steps} steps; the cap does it by {cap}."
    number = "skips" if len(steps) == len(run.predicted) else f"{len(steps)} skips"
    end = f" (cap at {cap})" if len(steps) < len(run.predicted) or max(steps) > cap else ""
    return (
        f"Predicted: {number} removed from step {min(steps):.0f} to {max(steps):.0f} of {run.num_steps}{end}."
    )


def warm_up(images: Images) -> None:
    """Do one step of a tiny network: the first one in a process waits for much of torch to be read."""
    trainer = Settings(depth=1, width=4, num_epochs=1).trainer(images)
    for _ in trainer.until(1):
        Recording.begin(Settings(depth=1, width=4), images).add(trainer)


def playground_panel(
    images: Images | None = None,
    settings: Settings | None = None,
    folder: str | Path = FOLDER,
    interactive: bool = True,
    **chosen: Any,
) -> Playground | Replay:
    """Return the playground, or where nobody can press a button, the replay of one run.

    Args:
        images: the data; None loads the set that the settings name.
        settings: the initial ones; None takes the defaults.
        folder: for runs and pages that are kept.
        interactive: False trains one network here and now and returns its replay.
        chosen: some settings by their names, instead of those in `settings`.

    Returns:
        The panel, or a replay, which a notebook shows as a figure.
    """
    if interactive:
        return Playground(images, settings, folder, **chosen)
    settings = replace(settings or Settings(), **chosen)
    images = data.load(settings.data) if images is None else images
    return Replay(Recording.train(settings, images))
