"""The playground: choose, train, watch the skips go, go back in time, compare, keep."""

import contextlib
import copy
import hashlib
import html
import math
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import ipywidgets

from van_tutorial import data, playground, training
from van_tutorial._checks import check_range
from van_tutorial.connections import SKIPS
from van_tutorial.data import Images
from van_tutorial.playground import Recording, Replay, Settings
from van_tutorial.widgets.network import NetworkDrawing
from van_tutorial.widgets.panel import Choice, Control, Look, Slider, free, free_below
from van_tutorial.widgets.training import REDRAW_SECONDS, PanelState, ThreadedPanel

FOLDER = "runs/playground"
SMALLEST_DUAL_LR, LARGEST_DUAL_LR = 1e-5, 1e4
MOST_PINNED = 5  # as many as there are colours, dashes and markers left
DRAWING_SHARE = 15  # training goes on at least so many times as long as drawing took
COLORS = ("gradient norm", "multiplier")


@dataclass(kw_only=True)
class PlaygroundState(PanelState):
    """What the playground knows, besides the trainer of a run that can go on, and what went wrong last.

    Attributes:
        phase: "new", "running", "paused", "finished", "stopped" or "opened".
        run: what is recorded of the run that is shown.
        pinned: runs to compare with.
    """

    phase: str = "new"
    run: Recording
    pinned: list[Recording] = field(default_factory=list)


def is_here(name: str, root: str | Path | None) -> bool:
    """Return whether a data set can be chosen; without a folder for the full ones only the embedded one can."""
    try:
        return data.find(name, root) is not None
    except data.DataError:
        return False


def controls_for(settings: Settings, dual_lr: float, sets: tuple[str, ...]) -> tuple[Control, ...]:
    """Return the controls, with these settings at the start."""
    return (
        Choice("data", "data set", settings.data, sets, "What to learn; sets that are on this machine"),
        Slider("depth", "depth (layers)", settings.depth, 1, 100, "Number of layers"),
        Slider("width", "width (units)", settings.width, 4, 256, "Units per layer"),
        Choice(
            "connection", "connection", settings.connection, playground.CONNECTIONS, "What goes round a layer"
        ),
        Choice(
            "skip",
            "form of the VAN",
            settings.skip,
            tuple(SKIPS),
            "How a VAN mixes input and output of a layer",
        ),
        Slider(
            "skip_weight", "initial skip weight", settings.skip_weight, 0.0, 1.0, "Of every layer of a VAN"
        ),
        Slider(
            "dual_lr",
            "multiplier step size",
            dual_lr,
            SMALLEST_DUAL_LR,
            LARGEST_DUAL_LR,
            "How fast the multipliers grow: nats per unit of skip weight, per step",
            is_log=True,
        ),
        Slider(
            "skip_lr",
            "skip step size",
            settings.skip_lr,
            1e-5,
            1.0,
            "How fast the skip weights follow their gradient",
            is_log=True,
        ),
        Slider(
            "damping",
            "damping",
            settings.damping,
            0.0,
            10.0,
            "Weight of the quadratic term: friction for skip weight and multiplier",
        ),
        Slider(
            "stagger",
            "order",
            settings.stagger,
            -0.95,
            0.95,
            "Which skips go first: above 0 one after the other from the input side, below 0 from the output side, at 0 "
            "all at once",
        ),
        Choice(
            "normalization",
            "normalization",
            settings.normalization,
            playground.NORMALIZATIONS,
            "Of every layer's units",
        ),
        Choice("init", "initialization", settings.init, playground.INITS, "Of the weights"),
        Slider(
            "num_epochs",
            "epochs",
            settings.num_epochs,
            1,
            max(100, settings.num_epochs),
            "Passes over the training images",
        ),
        Slider(
            "seed",
            "seed",
            settings.seed,
            0,
            max(99, settings.seed),
            "Of initial weights and order of examples",
        ),
    )


def button(label: str, icon: str, tooltip: str) -> ipywidgets.Button:
    """Return a button as wide as its label needs."""
    return ipywidgets.Button(description=label, icon=icon, tooltip=tooltip, layout={"width": "auto"})


class Playground(ThreadedPanel):
    """Train a network by button and watch its skips go; go back in time, compare runs, keep them.

        panel = Playground(images, depth=20)
        panel.train.click()

    Training goes on in a thread of its own, which ends with every pause, and draws at most five times a second.

    Args:
        images: the data; None loads the set that the settings name.
        settings: to begin with; None takes the defaults.
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
        predicted: when the skips should be gone, in words.
        state: all that is known.

    Raises:
        ValueError: for settings outside their bounds.
    """

    look = Look(label="10.5em", control="22em", box="6em")
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
        self._lock = threading.RLock()  # the thread and a hand may draw, or say what the phase is, at once
        self._is_ready = self._is_moving = False
        there = [name for name in data.NAMES if name == settings.data or is_here(name, root)]
        run = Recording.begin(settings, self._images(settings.data))
        self.state = PlaygroundState(run=run)
        self._make_buttons()
        dual_lr = sized_dual_lr(settings, run.num_steps) if settings.dual_lr is None else settings.dual_lr
        check_range("dual_lr", dual_lr, SMALLEST_DUAL_LR, LARGEST_DUAL_LR)
        controls = controls_for(settings, dual_lr, tuple(dict.fromkeys((*there, settings.data))))
        super().__init__(
            controls, (self.train, self.pause, self.step, self.stop, self.reset), playground.charts(run)
        )
        self._connect()
        self._is_ready = True
        self._list_kept()
        self._preview()
        self._enable()
        warm_up(self._images(settings.data))

    # What there is to see and to press

    def _make_buttons(self) -> None:
        self.train = button("Train", "play", "Train with these settings; goes on where a run was paused")
        self.pause = button("Pause", "pause", "Hold after the present step; Train goes on from there")
        self.step = button(
            "Step", "step-forward", "Do one training step and hold: of the paused run, or else of a new one"
        )
        self.stop = button("Stop", "stop", "End this run after the present step and keep what is there")
        self.reset = button("Reset", "undo", "Put this run away; pinned ones stay")
        self.pin = button("Pin", "thumb-tack", "Keep this run in the figure, to lay the next over it")
        self.save = button("Save", "save", f"Write this run to a file in {self._folder}")
        self.export = button("Export", "share", "Write one HTML page that replays this run without a kernel")
        self.open = button("Open", "folder-open", "Show the saved run that is chosen in the list")
        self.apply = button("Apply", "check", "Set all controls as the text says")
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
            options=COLORS, description="colour by", tooltip="What the colour of a layer means"
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
        self.latest = button(
            "Latest", "fast-forward", "Show the last recorded moment, and follow the training"
        )
        self.play = ipywidgets.Play(min=0, max=0, interval=120, tooltip="Replay the run")
        self.drawing = NetworkDrawing()
        self.predicted = ipywidgets.HTML()
        self.moment = ipywidgets.HTML()
        self._table = ipywidgets.VBox()

    def _lay_out(self, rows: list[ipywidgets.Widget], buttons: list[ipywidgets.Button]) -> ipywidgets.Widget:
        """Return controls in columns, then the buttons, the network, the scrubber, the figure and what is kept."""
        dual_lr = list(self._controls).index("dual_lr")
        rows[dual_lr] = ipywidgets.VBox([rows[dual_lr], self.predicted])
        columns = {"grid_template_columns": "repeat(auto-fill, minmax(29em, 1fr))", "width": "100%"}
        wrap = {"flex_flow": "row wrap", "align_items": "center"}
        self._linked = ipywidgets.jslink((self.play, "value"), (self.scrubber, "value"))
        return ipywidgets.VBox(
            [
                ipywidgets.GridBox(rows, layout=columns),
                ipywidgets.HBox([*buttons, self.color], layout=wrap),
                self.status,
                self.drawing,
                ipywidgets.HBox([self.scrubber, self.play, self.latest, self.moment], layout=wrap),
                self.figure,
                ipywidgets.HBox([self.pin, self.save, self.export, self.kept, self.open], layout=wrap),
                ipywidgets.HBox([self.text, self.apply], layout=wrap),
                self._table,
            ]
        )

    def _connect(self) -> None:
        """Have every button and control call what it stands for."""
        for name, call in {
            "train": lambda: self._begin(None),
            "step": lambda: self._begin(1),
            "pause": lambda: self._halt("paused"),
            "stop": self._stop,
            "reset": self._reset,
            "latest": lambda: setattr(self.scrubber, "value", self.scrubber.max),
            "pin": self._pin,
            "save": self._save,
            "export": self._export,
            "open": self._open,
            "apply": lambda: self._take_over(Settings.from_text(self.text.value)),
        }.items():
            getattr(self, name).on_click(self._guarded(call))
        for control in self._controls.values():
            control.observe(lambda _: self._preview(), "value")
        self.scrubber.observe(lambda _: self._show(), "value")
        self.color.observe(lambda _: setattr(self.drawing, "color_by", self.color.value), "value")

    def _guarded(self, call: Callable[[], None]) -> Callable[[Any], None]:
        """Return what a button does; an error is shown as text and kept, and nothing is lost."""

        def press(_: Any) -> None:
            self.state.error = None
            try:
                call()
            except Exception as error:  # a button has nobody else to tell
                self.state.error = error
                self.status.value = f"<b>Not done:</b> {html.escape(str(error))}"

        return press

    def _enable(self) -> None:
        """Let those buttons be pressed that mean something now."""
        with self._lock:
            phase, has_run = self.state.phase, len(self.state.run) > 1
            is_running, is_open = phase == "running", phase in ("running", "paused")
            self.train.disabled = self.step.disabled = is_running
            self.train.description = "Go on" if phase == "paused" else "Train"
            self.pause.disabled = not is_running
            self.stop.disabled = not is_open
            self.reset.disabled = phase == "new"
            self.pin.disabled = is_running or not has_run or len(self.state.pinned) >= MOST_PINNED
            self.save.disabled = self.export.disabled = is_running or not has_run
            self.open.disabled = is_open or not self.kept.options
            self.apply.disabled = is_open
            for control in self._controls.values():
                control.disabled = is_open
            for _, restore, _ in (row.children for row in self.pinned_rows):
                restore.disabled = is_open
            if self.connection.value != "van":
                for name in ("skip", "skip_weight", "dual_lr", "skip_lr", "damping", "stagger"):
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
            what = "These do not go together" if isinstance(error, ValueError) else "Not to be had"
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
        """Set every control, or none; `None` for the multiplier step size stands for the sized one."""
        if settings.data not in self.data.options:
            raise ValueError(
                f"The data set {settings.data!r} is not on this machine: `van-tutorial data verify` says how to get it."
            )
        values = asdict(settings)
        if settings.dual_lr is None:
            num_steps = settings.num_steps(len(self._images(settings.data).train_labels))
            values["dual_lr"] = sized_dual_lr(settings, num_steps)
        for name, control in self._controls.items():
            if not isinstance(control, ipywidgets.Dropdown):
                low, high = control.min, control.max
                if isinstance(control, ipywidgets.FloatLogSlider):
                    low, high = round(10.0**low, 9), round(10.0**high, 9)
                check_range(name, values[name], low, high)
        self._is_ready = False
        try:
            for name, value in values.items():
                self._controls[name].value = value
        finally:
            self._is_ready = True
        self._preview()

    # A run

    def _begin(self, num_steps: int | None) -> None:
        """Train in a thread, for so many steps or to the end: a new run, or the one that was paused."""
        if self.state.phase == "running":
            return
        self._join()  # one that was just paused may be at its last lines
        settings = None if self.state.phase == "paused" else self._chosen()
        self.state.phase, self.state.error = "running", None
        self.state.stop.clear()
        self.status.value = "Training starts …"
        self._enable()
        self._go(self._run, settings, num_steps)

    def _run(self, settings: Settings | None, num_steps: int | None) -> None:
        """Train and record, and redraw now and then; an error is shown as text and kept."""
        state = self.state
        run = None  # what this thread records, whatever is shown meanwhile
        try:
            trainer = state.trainer
            if settings is not None or trainer is None:  # a new run
                settings = settings or state.run.settings
                images = self._images(settings.data)
                state.trainer = trainer = settings.trainer(images, stop=state.stop)
                state.run = Recording.begin(settings, images)
                self._show_run()
            run = state.run
            last = trainer.num_steps if num_steps is None else trainer.step + num_steps
            rest_until = -math.inf
            for _ in trainer.until(last):
                run.add(trainer)
                now = time.monotonic()
                if now >= rest_until:
                    self._follow()
                    cost = time.monotonic() - now
                    rest_until = now + max(REDRAW_SECONDS, DRAWING_SHARE * cost)
            run.conclude(trainer)
            with self._lock:
                state.error = None  # of a press that was refused meanwhile
                if trainer.step == trainer.num_steps:
                    state.phase = "finished"
                elif state.phase == "running":  # that was the last of the steps asked for
                    state.phase = "paused"
            self._follow()
        except Exception as error:  # a thread has nobody else to tell
            state.error, state.phase = error, "stopped"
            if run is not None:
                run.outcome = f"{run.describe(-1)} Ended by an error: {error}"
            with contextlib.suppress(Exception):  # it may be the drawing that went wrong
                self._follow()
        self._say()
        self._enable()

    def _halt(self, phase: str) -> None:
        """Hold the training after the present step."""
        with self._lock:
            if self.state.phase == "running":
                self.state.phase = phase
                self.state.stop.set()

    def _stop(self) -> None:
        """End the run: the thread says so, or where a pause has ended the thread, this does."""
        self._halt("stopped")
        self._join()
        if self.state.phase == "paused":
            self.state.phase = "stopped"
            self._say()
            self._enable()

    def _reset(self) -> None:
        """Put the run away."""
        self._halt("stopped")
        self._join()
        self.state.phase, self.state.trainer, self.state.error = "new", None, None
        self._preview()

    def _say(self) -> None:
        """Say in words what became of the run."""
        with self._lock:
            error, outcome = self.state.error, html.escape(self.state.run.outcome)
            if error is not None:
                self.status.value = f"<b>The run ended:</b> {html.escape(str(error))}"
            else:
                self.status.value = f"{self.state.phase.capitalize()}. {outcome}"

    # Drawing

    def _show_run(self) -> None:
        """Show another run, at its last moment."""
        with self._lock:
            self._move(is_following=True)
            self._draw()

    def _follow(self) -> None:
        """Show what was recorded since, unless somebody is looking at an earlier moment."""
        with self._lock:
            self._move()
            self._draw()
            if self.state.phase == "running":
                self.status.value = f"Training. {self.state.run.describe(-1)}"

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
        with self._lock:
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
        with self._lock, self.figure.batch_update():
            self.state.pinned = runs
            run = self.state.run
            step = run.steps[min(self.scrubber.value, len(run) - 1)]
            self.figure.data = self.figure.data[: playground.NUM_TRACES]
            for trace, (row, column) in playground.pinned_traces(runs, step):
                self.figure.add_trace(trace, row, column)
        free_below(self._table)
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
        self.state.phase, self.state.trainer, self.state.run = "opened", None, run
        self._show_run()
        self._enable()
        self._say()
        try:
            self._take_over(run.settings)
        except Exception as error:  # made elsewhere, with another data set or other bounds
            self.status.value += f" Its settings cannot be set here: {html.escape(str(error))}"

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


def sized_dual_lr(settings: Settings, num_steps: int) -> float:
    """Return the multiplier step size that the library would take, as a hand would set it."""
    dual_lr = training.default_dual_lr(num_steps, settings.skip_weight, settings.train_config(num_images=0))
    return float(f"{max(dual_lr, SMALLEST_DUAL_LR):.2g}")


def describe_prediction(run: Recording) -> str:
    """Say in words when the skips of a run should be gone."""
    if not run.predicted:
        return "No skip weights: nothing to phase out."
    cap = math.ceil(training.TrainConfig().removing_by * run.num_steps)
    gone = [step for step in run.predicted if step <= run.num_steps]
    if not gone:
        return f"Predicted: no multiplier takes a skip within {run.num_steps} steps; the cap does by {cap}."
    is_capped = len(gone) < len(run.predicted) or max(gone) > cap
    number = "skips" if len(gone) == len(run.predicted) else f"{len(gone)} skips"
    end = f" (cap at {cap})" if is_capped else ""
    return f"Predicted: {number} gone from step {min(gone):.0f} to {max(gone):.0f} of {run.num_steps}{end}."


def warm_up(images: Images) -> None:
    """Do one step of a tiny network: the first one in a process waits for much of torch to be read."""
    trainer = Settings(depth=1, width=4, num_epochs=1).trainer(images)
    run = Recording.begin(Settings(depth=1, width=4), images)
    for _ in trainer.until(1):
        run.add(trainer)


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
        settings: to begin with; None takes the defaults.
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
    return Replay(Recording.make(settings, images))
