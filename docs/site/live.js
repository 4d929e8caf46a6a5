// Recorded runs, played without a kernel: two sliders and an order choose a run, Play shows it from step 0 on. `network`
// and `make` are there (network.js). Everything that is shown comes from the page itself.

const HEIGHT = 130;
const MARGIN = { left: 34, right: 8, top: 8, bottom: 20 };
const DELAY = 350; // milliseconds between two moments: time to read beside
const DIP = 0.1; // by how much the accuracy must be below its best so far to be called a dip

function live(root) {
  const runs = JSON.parse(root.querySelector(".van-live-data").textContent);
  const controls = Object.fromEntries(["depth", "dual_lr", "stagger", "step"].map((name) =>
    [name, root.querySelector(`#van-live-${name}`)]));
  const play = root.querySelector(".van-live-play");
  const chart = root.querySelector(".van-live-chart");
  const drawn = network(root.querySelector(".van-live-network"));
  const vans = runs.filter((run) => run.connection === "van");
  const values = (name) => [...new Set(vans.map((run) => run[name]))].sort((a, b) => a - b);
  const lists = { depth: values("depth"), dual_lr: values("dual_lr") };
  let timer = null;
  let shown = []; // the chosen run, and those beside it

  const chosen = () => ({
    depth: lists.depth[controls.depth.value],
    dual_lr: lists.dual_lr[controls.dual_lr.value],
    stagger: Number(controls.stagger.value),
  });

  function choose() {
    const wanted = chosen();
    for (const name of Object.keys(lists)) {
      controls[name].nextElementSibling.textContent = wanted[name];
      controls[name].setAttribute("aria-valuetext", wanted[name]);
    }
    const run = vans.find((there) => Object.keys(wanted).every((name) => there[name] === wanted[name]));
    const beside = runs.filter((there) => there.connection !== "van" && there.depth === wanted.depth);
    shown = [run, ...beside];
    controls.step.max = run.steps.length - 1;
    drawCurves();
  }

  // The moment of a run at a step: the last one that is not after it.
  const at = (run, step) => Math.max(0, run.steps.findLastIndex((there) => there <= step));

  // What a moment shows that numbers alone do not say.
  function explain(run, index, left) {
    const isOver = index === run.steps.length - 1;
    const end = isOver ? `${run.outcome} ` : "";
    if (isOver && left === run.depth) return `${end}The multipliers rise too slowly to remove a skip in this training.`;
    if (isOver && left > 0) return `${end}The training ends while skips are being removed.`;
    if (isOver || !dips(run, index, left)) return end;
    return "The accuracy dips: skips are fading, and the layers have yet to learn to do without them.";
  }

  // Whether a run that is losing its skips is far below what it had reached.
  function dips(run, index, left) {
    const best = Math.max(...run.accuracy.slice(0, index + 1));
    return left > 0 && run.accuracy[index] < best - DIP;
  }

  function show() {
    const [run] = shown;
    const index = Number(controls.step.value);
    const step = run.steps[index];
    const scores = shown.map((there) => {
      const moment = at(there, step);
      const skip = there.skip_weights[moment] ?? [];
      const skips = there.connection === "residual" ? there.depth : skip.filter((alpha) => alpha !== 0).length;
      return { name: there.name, color: there.color, accuracy: there.accuracy[moment], num_skips: skips };
    });
    const left = scores[0].num_skips;
    const norms = run.grad_norms.flat().filter((norm) => norm > 0);
    drawn.show({
      step, num_steps: run.num_steps, depth: run.depth, connection: "van", has_skip: true, is_weighted: true,
      num_skips: left, skip: run.skip_weights[index], multiplier: null, largest_multiplier: 0,
      grad_norm: run.grad_norms[index].length ? run.grad_norms[index] : null,
      grad_norm_range: [Math.min(...norms), Math.max(...norms)], scores,
    });
    const dip = dips(run, index, left) ? "; the accuracy dips" : "";
    const words = `Step ${step} of ${run.num_steps}: ${left} of ${run.depth} skips left${dip}.`;
    root.querySelector(".van-live-words").textContent = words;
    controls.step.setAttribute("aria-valuetext", words);
    root.querySelector(".van-live-outcome").textContent = explain(run, index, left);
    drawCursor(step);
  }

  const across = (step) => MARGIN.left + (chart.clientWidth - MARGIN.left - MARGIN.right) * step / shown[0].num_steps;
  const down = (accuracy) => MARGIN.top + (HEIGHT - MARGIN.top - MARGIN.bottom) * (1 - accuracy);

  function drawCurves() {
    chart.replaceChildren();
    for (const accuracy of [0, 0.5, 1]) {
      const y = down(accuracy);
      make("line", { x1: MARGIN.left, x2: chart.clientWidth - MARGIN.right, y1: y, y2: y, class: "axis" }, chart);
      make("text", { x: MARGIN.left - 5, y: y + 4, "text-anchor": "end" }, chart, accuracy);
    }
    make("text", { x: MARGIN.left, y: HEIGHT - 5 }, chart, "test accuracy by step");
    make("line", { y1: down(0), y2: down(1), class: "axis cursor", "stroke-dasharray": "3 3" }, chart);
    for (const { color: its } of shown) make("polyline", { class: "run", style: `--run: ${its}` }, chart);
  }

  function drawCursor(step) {
    const cursor = chart.querySelector(".cursor");
    cursor.setAttribute("x1", across(step));
    cursor.setAttribute("x2", across(step));
    chart.querySelectorAll(".run").forEach((line, i) => {
      const run = shown[i];
      const points = run.steps.map((there, j) => [there, run.accuracy[j]])
        .filter(([there, accuracy]) => accuracy !== null && there <= step);
      line.setAttribute("points", points.map(([there, accuracy]) => `${across(there)},${down(accuracy)}`).join(" "));
    });
  }

  function pause() {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
  }

  function start() {
    const last = () => shown[0].steps.length - 1;
    if (Number(controls.step.value) >= last()) controls.step.value = 0;
    play.textContent = "Pause";
    show();
    timer = setInterval(() => {
      controls.step.value = Number(controls.step.value) + 1;
      show();
      if (Number(controls.step.value) >= last()) pause();
    }, DELAY);
  }

  for (const name of Object.keys(lists)) controls[name].max = lists[name].length - 1;
  controls.depth.value = lists.depth.indexOf(40);
  controls.dual_lr.value = lists.dual_lr.length - 1;
  for (const name of ["depth", "dual_lr", "stagger"]) {
    controls[name].addEventListener("input", () => {
      pause();
      controls.step.value = 0;
      choose();
      start();
    });
  }
  controls.step.addEventListener("input", () => {
    pause();
    show();
  });
  play.addEventListener("click", () => (timer === null ? start() : pause()));
  new ResizeObserver(() => {
    drawCurves();
    show();
  }).observe(chart);
  choose();
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
    pause();
    show();
  } else start();
}
