"""The playground: choose, train, watch the skips being removed, go back in time, compare, keep."""

import copy
import hashlib
import html
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import ipywidgets

from van_tutorial import connections, constraints, data, playground, training
from van_tutorial.data import Images
from van_tutorial.playground import Recording, Settings
from van_tutorial.widgets.controls import controls_for
from van_tutorial.widgets.network import NetworkDrawing
from van_tutorial.widgets.panel import button, free
from van_tutorial.widgets.replay import Replay
from van_tutorial.widgets.run import RunPanel, RunState

FOLDER = "runs/playground"
MOST_PINNED = 5  # as many as there are colours, dashes and markers left
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
    "more": (
        "More settings",
        "sliders",
        "Show or hide the other settings, and what saves, opens and exports runs",
    ),
}
OF_A_RUN = ("train", "pause", "step", "stop", "reset", "pin")
IN_SIGHT = ("depth", "dual_lr")
# The other controls, which are folded. What has none is set by the presets and by the settings as text.
FOLDED = {
    "Network": ("connection", "width", "skip", "normalization", "norm_shift", "init"),
    "Removal of the skips": ("stagger", "skip_weight"),
    "Training": ("num_epochs", "seed", "data"),
}
CONTROLLED = (*IN_SIGHT, *(name for names in FOLDED.values() for name in names))
WITHOUT_WEIGHTS = "Pin keeps the run while you train a VAN with the same settings. Which learns faster?"


@dataclass(kw_only=True)
class PlaygroundState(RunState):
    """What the playground knows, besides its training.

    Attributes:
        run: what is recorded of the run that is shown.
        pinned: runs to compare with.
        beside: recorded runs of the same size, which are compared with before anything is pinned.
        touched: index and value of skip weights that wait for the end of a training step to be set.
    """

    run: Recording
    pinned: list[Recording] = field(default_factory=list)
    beside: list[Recording] = field(default_factory=list)
    touched: list[tuple[int, float]] = field(default_factory=list)

    @property
    def others(self) -> list[Recording]:
        """All runs that are laid beside the one that is shown."""
        return [*self.beside, *self.pinned]


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
        presets: by their names, buttons that set all settings to something worth seeing.
        task: what to try with the settings that are chosen.
        auto: whether the dual learning rate is sized from the number of steps.
        more: the button that unfolds the controls that are not in plain sight.
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
        images, self._given = self._images(settings.data), settings
        sized = settings.sized(len(images.train_labels))
        run = Recording.begin(sized, images)
        self.state = PlaygroundState(run=run)
        here = [name for name in data.NAMES if name == settings.data or is_here(name, root)]
        self._make_parts()
        sets = {"data": tuple(dict.fromkeys((*here, settings.data)))}
        self._others = asdict(sized)
        controls = controls_for({name: self._others.pop(name) for name in CONTROLLED}, sets)
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
            layout={"width": "19em"},
            style={"description_width": "4.5em"},
        )
        self.play = ipywidgets.Play(min=0, max=0, interval=120, tooltip="Replay the run")
        self.drawing = NetworkDrawing()
        self.auto = ipywidgets.Checkbox(
            self._given.dual_lr is None,
            description="auto",
            tooltip="Size the dual learning rate from the number of steps, until it is set by hand",
            indent=False,
            layout={"width": "5em"},
        )
        self.presets = {name: button(name, "", task) for name, (task, _) in playground.PRESETS.items()}
        self.predicted, self.moment, self.task = ipywidgets.HTML(), ipywidgets.HTML(), ipywidgets.HTML()
        self._table = ipywidgets.VBox()

    def _lay_out(self) -> list[ipywidgets.Widget]:
        """Return what is used first, the network with its accuracy, the scrubber and the figure; the rest is folded."""
        wrap = {"flex_flow": "row wrap", "align_items": "center"}
        columns = {
            "grid_template_columns": "repeat(auto-fill, minmax(min(29em, 100%), 1fr))",
            "width": "100%",
        }
        folded: list[ipywidgets.Widget] = []
        for title, names in FOLDED.items():
            controls = [self._controls[name] for name in names]
            folded += [ipywidgets.HTML(f"<b>{title}</b>"), ipywidgets.GridBox(controls, layout=columns)]
        of_a_run = [self._buttons[name] for name in OF_A_RUN]
        self.train.button_style = "primary"
        self.predicted.style.description_width = self.status.style.description_width = "initial"
        self.data.layout.display = "" if len(self.data.options) > 1 else "none"  # nothing to choose
        self._linked = ipywidgets.jslink((self.play, "value"), (self.scrubber, "value"))
        self._folded = ipywidgets.VBox(
            [
                *folded,
                ipywidgets.HTML("<b>Drawing and files</b>"),
                self.color,
                ipywidgets.HBox([self.save, self.export, self.kept, self.open], layout=wrap),
                ipywidgets.HBox([self.text, self.apply], layout=wrap),
            ],
            layout={"display": "none"},
        )
        return [
            ipywidgets.HBox([ipywidgets.Label("Examples:"), *self.presets.values()], layout=wrap),
            ipywidgets.HBox([*map(self._controls.get, IN_SIGHT), self.auto], layout=wrap),
            self._folded,
            ipywidgets.HBox([*of_a_run, self.more, self.predicted], layout=wrap),
            self.task,
            self.status,
            self.drawing,
            ipywidgets.HBox([self.scrubber, self.moment, self.play, self.latest], layout=wrap),
            self.figure,
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
                "more": self._unfold,
            }
        )
        for name, preset in self.presets.items():
            preset.on_click(self._guarded(partial(self._preset, name)))
        self.drawing.on_msg(lambda _, said, __: self._guarded(partial(self._touch, **said))(None))
        self.dual_lr.observe(lambda _: self._size_by_hand(), "value")
        for control in (*self._controls.values(), self.auto):
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
            for control in (self.apply, self.auto, *self.presets.values(), *self._controls.values()):
                control.disabled = is_open
            for _, restore, _ in (row.children for row in self.pinned_rows):
                restore.disabled = is_open
            if not connections.CONNECTIONS[self.connection.value].is_weighted:
                for name in self._controls.keys() & playground.OF_WEIGHTED_SKIPS:
                    self._controls[name].disabled = True
                self.auto.disabled = True

    def _unfold(self) -> None:
        """Show the folded controls, or hide them."""
        is_folded = self._folded.layout.display == "none"
        self._folded.layout.display = "" if is_folded else "none"
        self.more.description = "Fewer settings" if is_folded else "More settings"

    # Settings

    @property
    def settings(self) -> dict[str, Any]:
        """All settings by name, those that have no control too."""
        return self._others | super().settings

    def _images(self, name: str) -> Images:
        """Return a data set, loaded once."""
        if name not in self._sets:
            self._sets[name] = data.load(name, self._root)
        return self._sets[name]

    def _chosen(self) -> Settings:
        """Return the settings that the controls stand at."""
        settings = Settings(**self.settings)
        if self.auto.value:
            settings = replace(settings, dual_lr=None)
        return settings.sized(len(self._images(settings.data).train_labels))

    def _size_by_hand(self) -> None:
        """Leave the dual learning rate as it was set by hand."""
        if self._is_ready:
            self._set({}, is_auto=False)

    def _preview(self) -> None:
        """Say what the settings come to, and where there is no run, draw the network that they give."""
        if not self._is_ready:
            return
        try:
            settings = self._chosen()
            run = Recording.begin(settings, self._images(settings.data))
            self._set({"dual_lr": settings.dual_lr})
        except Exception as error:  # a control has nobody else to tell
            what = "These do not go together" if isinstance(error, ValueError) else "Not available"
            self.predicted.value = ""
            self.status.value = f"<b>{what}:</b> {html.escape(str(error))}"
            self._enable()
            return
        self.text.value = replace(settings, dual_lr=None if self.auto.value else settings.dual_lr).to_text()
        self._next = run
        self._ask(playground.TRY if run.predicted else WITHOUT_WEIGHTS)
        if self.state.phase == "new":
            self.state.run = run
            self.status.value = "Choose, then press Train."
            self._show_run()
        self._foretell()
        if self.state.phase != "new" and self.status.value.startswith(
            "<b>"
        ):  # the complaint is no longer true
            self.state.error = None
            self._say()
        self._enable()

    def _foretell(self) -> None:
        """Say what the settings come to, and where the run that is shown has others, which words are of which."""
        is_shown = self._next.settings == self.state.run.settings
        self.predicted.description, self.status.description = (
            ("", "") if is_shown else ("Next run:", "Shown run:")
        )
        self.predicted.value = html.escape(describe_prediction(self._next))

    def _ask(self, task: str) -> None:
        """Say what to try with the settings that are chosen."""
        self.task.value = f"<b>Try</b>: press Train. {html.escape(task)}"

    def _take_over(self, settings: Settings) -> None:
        """Set every control, or none; `None` for the dual learning rate stands for the default one."""
        if settings.data not in self.data.options:
            raise ValueError(
                f"The data set {settings.data!r} is not on this machine: `van-tutorial data verify` says how to get it."
            )
        values = asdict(settings.sized(len(self._images(settings.data).train_labels)))
        for name, spec in self._specs.items():
            spec.check(values[name])
        self._set(values, is_auto=settings.dual_lr is None)
        self._preview()

    def _preset(self, name: str) -> None:
        """Set every setting to something worth seeing, and say what to look for."""
        task, changes = playground.PRESETS[name]
        self._take_over(replace(self._given, **changes))
        self._ask(task)

    def _set(self, values: Mapping[str, Any], is_auto: bool | None = None) -> None:
        """Set controls without a look at what each of them comes to."""
        self._is_ready = False
        try:
            self.auto.value = self.auto.value if is_auto is None else is_auto
            for name, value in values.items():
                if name in self._others:
                    self._others[name] = value
                else:
                    self._controls[name].value = value
        finally:
            self._is_ready = True

    # A run

    def _begin(self, settings: Settings) -> training.Trainer:
        images = self._images(settings.data)
        trainer = settings.trainer(images, stop=self.state.stop)
        self.state.run = self._next = Recording.begin(settings, images)
        self.state.touched.clear()
        self._foretell()
        self._show_run()
        return trainer

    def _record(self, trainer: training.Trainer) -> None:
        self.state.run.add(trainer)
        while self.state.touched:
            self.state.run.set_skip(trainer, *self.state.touched.pop(0))

    def _touch(self, layer: int, weight: float) -> None:
        """Set a skip weight by hand: at once, with the accuracy for an answer, or in the course of the training."""
        with self.state.lock:
            run, trainer = self.state.run, self.state.trainer
            if trainer is None or not run.settings.kind.is_weighted:
                raise ValueError(
                    "There is no trained VAN whose skips could be set: press Train or Step first."
                )
            if self.state.phase == "running":
                self.state.touched.append((layer, weight))
                return
            run.set_skip(trainer, layer, weight)
            run.answer(trainer)
            self._show_run()
            before, now = run.curves["test_accuracy"][-2:]
            answer = f"By hand: {run.by_hand[-1]}. Test accuracy {before:.3f} before, {now:.3f} now."
            self.status.value = f"{self.state.phase.capitalize()}. {answer}"

    def _conclude(self, trainer: training.Trainer) -> None:
        run = self.state.run
        if self.state.error is None:
            run.conclude(trainer)
        else:
            run.outcome = f"{run.describe(-1)} Ended by an error: {self.state.error}"

    def _describe(self) -> str:
        run = self.state.run
        by_hand = f" By hand: {run.by_hand[-1]}." if run.by_hand else ""
        return run.describe(-1) + by_hand if self.state.phase == "running" else run.outcome

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
            if [id(run) for run in self.state.beside] != [
                id(run) for run in playground.beside(self.state.run)
            ]:
                self.state.beside = playground.beside(self.state.run)
                self._compare()
            self._name_pinned()
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
        can_touch = self.state.trainer is not None and index == len(run) - 1
        self.drawing.frame = run.frame(index, self.state.others) | {"can_touch": can_touch}
        self.moment.value = f"step {run.steps[index]} of {run.num_steps}"
        playground.redraw(self.figure, run, self.state.others, index)

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
        with self.state.lock:
            self.state.pinned = runs
            self._compare()
            self._draw()
        for row in self._table.children:
            free(row)
        self._table.children = [self._row(number, run) for number, run in enumerate(runs, 1)]
        self._name_pinned()
        self._enable()

    def _compare(self) -> None:
        """Put the traces of the other runs into the figure, in place of those that are there."""
        run, others = self.state.run, self.state.others
        step = run.steps[min(self.scrubber.value, len(run) - 1)]
        with self.figure.batch_update():
            self.figure.data = self.figure.data[: playground.NUM_TRACES]
            traces = playground.pinned_traces(run, others, step)
            places = zip(*(playground.CHARTS[chart][:2] for chart, _ in traces), strict=True)
            rows, cols = places if traces else ((), ())
            self.figure.add_traces([trace for _, trace in traces], rows=list(rows), cols=list(cols))

    def _row(self, number: int, run: Recording) -> ipywidgets.Widget:
        """Return the row of a pinned run, without its words."""
        restore = button("Restore", "sliders", f"Set all controls as they were for pinned run {number}")
        unpin = button("Unpin", "times", f"Take pinned run {number} out of the figure")
        restore.on_click(self._guarded(lambda: self._take_over(run.settings)))
        unpin.on_click(self._guarded(lambda: self._unpin(run)))
        return ipywidgets.HBox([ipywidgets.HTML(layout={"width": "calc(100% - 14em)"}), restore, unpin])

    def _name_pinned(self) -> None:
        """Name the pinned runs in the table as in the figure, by what differs from the run that is shown."""
        names = playground.names_of([run.settings for run in (self.state.run, *self.state.others)])
        pinned = self.state.pinned
        for row, name, run in zip(self.pinned_rows, names[len(names) - len(pinned) :], pinned, strict=True):
            settings, outcome = html.escape(run.settings.to_text()), html.escape(run.outcome)
            row.children[0].value = f"<b>{html.escape(name)}</b> <code>{settings}</code> {outcome}"

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
        return Replay(self.state.run, tuple(self.state.others))


def describe_prediction(run: Recording) -> str:
    """Say in words when the skips of a run should be removed, and whether the loss has a say in it."""
    if not run.predicted:
        return "No skip weights: nothing to phase out."
    cap = math.ceil(training.TrainConfig().removing_by * run.num_steps)
    steps = [step for step in run.predicted if step <= run.num_steps]
    removal = f"multipliers remove no skip in {run.num_steps} steps"
    if steps:
        number = "skips" if len(steps) == len(run.predicted) else f"{len(steps)} skips"
        first, last = f"{min(steps):.0f}", f"{max(steps):.0f}"
        when = f"at step {first}" if first == last else f"from step {first} to {last}"
        removal = f"{number} removed {when} of {run.num_steps}"
    if run.settings.cap == "falling" and max(run.predicted) > cap:
        removal += f"; a falling bound (cap) removes what is left by step {cap}"
    return f"Predicted: {removal}. {describe_price(run.settings)}".rstrip()


def describe_price(settings: Settings) -> str:
    """Say who sets the step at which a skip is removed, at the price that is the median at depth 40."""
    if not (settings.skip_weight and settings.skip_lr and settings.dual_lr):
        return ""
    ratio = constraints.price_ratio(settings.skip_weight, settings.skip_lr, settings.dual_lr)
    if ratio > 30:
        return "Learning rates set these steps, not the loss."
    say = "decides" if ratio < 5 else "has a say"
    return f"That leaves out the loss, which {say} here."


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
    run = Recording.train(settings, images)
    return Replay(run, tuple(playground.beside(run)))
