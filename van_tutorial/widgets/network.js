// The network drawn: layers in rows, each with its skip-connection as an arc over it.
//
// One module, three users: the panel (as an anywidget), an exported page, and pages of the site. `network(el)` draws into
// an element and returns a function that shows a moment (see Recording.frame). It asks nothing of anybody else. Where a
// network is there to be changed, `touch(layer, weight)` is told of every skip weight that a hand has set.

const SVG = "http://www.w3.org/2000/svg";
const CELL = 34; // width of a layer with its surroundings
const BOX = { width: 18, height: 24 };
const LARGEST = 1.5; // how far a small network is blown up to fill the row
const SMALLEST = 0.6; // how far one that would need more than two rows is made smaller
const ROW = 74; // height of a row: arc, box, number
const TOP = 40; // of the box within its row
const DRAG = 60; // pixels from a skip weight of 0 to 1
// Cividis, at five points: even in lightness, and the same to colour-blind readers.
const COLORS = [[0, 34, 78], [65, 77, 107], [124, 123, 120], [188, 174, 108], [254, 232, 56]];

function make(name, attributes, parent, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  parent?.append(element);
  return element;
}

// The colour of a fraction from 0 to 1.
function color(fraction) {
  const place = Math.min(Math.max(fraction, 0), 1) * (COLORS.length - 1);
  const low = Math.min(Math.floor(place), COLORS.length - 2);
  const mixed = COLORS[low].map((from, i) => Math.round(from + (COLORS[low + 1][i] - from) * (place - low)));
  return `rgb(${mixed.join(",")})`;
}

function short(value) {
  if (value === null) return "not finite";
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size >= 0.01 && size < 1000 ? value.toPrecision(3) : value.toExponential(1);
}

// What the colour means: the layers' values, a function from value to a fraction of the scale, and the ends of its scale.
function scale(frame, by) {
  if (by === "multiplier") {
    const most = frame.largest_multiplier;
    if (!frame.multiplier || !(most > 0)) return null;
    return { values: frame.multiplier, fraction: (value) => value / most, ends: ["0", short(most)],
      name: "multiplier λ (nats)" };
  }
  if (!frame.grad_norm || !frame.grad_norm_range) return null;
  const [low, high] = frame.grad_norm_range.map(Math.log10);
  const span = Math.max(high - low, 1e-9);
  return {
    values: frame.grad_norm,
    fraction: (value) => (Math.log10(Math.max(value, 1e-300)) - low) / span,
    ends: frame.grad_norm_range.map(short),
    name: "gradient norm |dC/dW|, log",
  };
}

function describeLayer(frame, l) {
  const parts = [`Layer ${l + 1}`];
  if (frame.is_weighted) parts.push(`skip weight ${short(frame.skip[l])}`);
  else parts.push(!frame.has_skip ? "no skip" : `${frame.connection} skip`);
  if (frame.multiplier) parts.push(`multiplier ${short(frame.multiplier[l])}`);
  if (frame.grad_norm) parts.push(`gradient norm ${short(frame.grad_norm[l])}`);
  return parts.join(", ");
}

function describe(frame) {
  const kind = `${frame.connection === "van" ? "VAN" : frame.connection} network of ${frame.depth} layers`;
  const left = !frame.has_skip ? "no skips" : `${frame.num_skips} of ${frame.depth} skips left`;
  return `${kind} at step ${frame.step} of ${frame.num_steps}: ${left}`;
}

// The accuracy of each run, as a number and as a bar.
function showScores(place, scores) {
  place.replaceChildren(...scores.map(({ name, color, accuracy, num_skips: skips }) => {
    const score = document.createElement("div");
    score.className = "van-score";
    score.style.setProperty("--run", color);
    score.style.setProperty("--accuracy", `${100 * (accuracy ?? 0)}%`);
    const parts = { name, value: accuracy === null ? "–" : accuracy.toFixed(3), note: skips ? `${skips} skip${skips === 1 ? "" : "s"}` : "no skip" };
    for (const [part, text] of Object.entries(parts)) {
      const span = document.createElement("span");
      span.className = `van-score-${part}`;
      span.textContent = text;
      span.title = part === "name" ? text : ""; // which may be cut
      score.append(span, " ");
    }
    return score;
  }));
}

export function network(el, touch = null) {
  el.classList.add("van-network");
  el.innerHTML = `<div class="van-scores" role="group" aria-label="Test accuracy of each run"></div>
    <div class="van-network-drawing" tabindex="0" role="group" data-lm-suppress-shortcuts="true"></div>
    <div class="van-network-line"><span class="van-network-layer" aria-live="polite"></span>
    <span class="van-network-scale"></span></div>`;
  const drawing = el.querySelector(".van-network-drawing");
  const scores = el.querySelector(".van-scores");
  const words = el.querySelector(".van-network-layer");
  const key = el.querySelector(".van-network-scale");
  let frame = null;
  let by = "gradient norm";
  let chosen = null; // the layer under the pointer, or reached by the arrow keys
  let parts = []; // of each layer: box, arc
  let built = "";

  function choose(l) {
    parts[chosen]?.box.classList.remove("chosen");
    chosen = l === null ? null : Math.min(Math.max(l, 0), frame.depth - 1);
    parts[chosen]?.box.classList.add("chosen");
    say();
  }

  const canTouch = () => touch !== null && Boolean(frame?.can_touch && frame.is_weighted);

  function say() {
    const hint = canTouch() ? "Click an arc to cut or restore its skip; drag it up or down to weigh it." :
      "Point at a layer, or use the arrow keys in the drawing.";
    words.textContent = chosen === null || !frame ? hint : describeLayer(frame, chosen);
  }

  function fade(l, weight) {
    const strength = Math.min(Math.max(weight, 0), 1);
    const { arc } = parts[l];
    arc.style.opacity = strength > 0 ? 0.15 + 0.85 * strength : 0;
    arc.style.strokeWidth = 1 + 3.5 * strength;
  }

  function set(l, weight) {
    const rounded = Math.round(100 * Math.min(Math.max(weight, 0), 1)) / 100;
    frame.skip[l] = rounded;
    fade(l, rounded);
    say();
    touch(l, rounded);
  }

  const toggle = (l) => set(l, frame.skip[l] > 0 ? 0 : 1);

  // A press on a layer: without a movement it cuts or restores, with one it sets the weight.
  function press(event, l) {
    if (!canTouch() || event.button !== 0) return;
    event.preventDefault();
    drawing.focus();
    const [from, field] = [frame.skip[l], event.currentTarget];
    let moved = 0;
    field.setPointerCapture(event.pointerId);
    field.onpointermove = ({ clientY }) => {
      moved = event.clientY - clientY;
      if (Math.abs(moved) > 3) fade(l, from + moved / DRAG);
    };
    field.onpointerup = () => {
      field.onpointermove = field.onpointerup = null;
      if (Math.abs(moved) > 3) set(l, from + moved / DRAG);
      else toggle(l);
    };
  }

  const space = () => el.clientWidth || 900;

  // The fixed parts: anew only where depth or space has changed.
  function build(perRow) {
    const rows = Math.ceil(frame.depth / perRow);
    const width = Math.min(frame.depth, perRow) * CELL + 10;
    const size = 11 * Math.max(1, width / space()); // of a number, which is not made smaller
    drawing.replaceChildren();
    const svg = make("svg", { viewBox: `0 0 ${width} ${rows * ROW + size - 7}`, "aria-hidden": "true" }, drawing);
    svg.style.maxWidth = `${width * LARGEST}px`;
    svg.style.setProperty("--number", `${size}px`);
    parts = [];
    for (let row = 0; row < rows; row++) {
      const y = row * ROW + TOP + BOX.height / 2;
      const cells = Math.min(perRow, frame.depth - row * perRow);
      make("line", { x1: 2, x2: cells * CELL + 8, y1: y, y2: y, class: "wire" }, svg);
    }
    for (let l = 0; l < frame.depth; l++) {
      const x = (l % perRow) * CELL + 5;
      const y = Math.floor(l / perRow) * ROW + TOP;
      const middle = x + CELL / 2;
      const base = y + BOX.height / 2;
      const path = `M ${x + 2} ${base} C ${x + 2} ${y - 36}, ${x + CELL - 2} ${y - 36}, ${x + CELL - 2} ${base}`;
      const layer = make("g", {}, svg);
      make("path", { d: path, class: "trace" }, layer);
      const arc = make("path", { d: path, class: "arc" }, layer);
      const box = make("rect", { x: middle - BOX.width / 2, y, ...BOX, rx: 3, class: "box" }, layer);
      if (l === 0 || (l + 1) % 5 === 0) make("text", { x: middle, y: y + BOX.height + size + 2 }, layer, l + 1);
      const field = make("rect", { x, y: y - 34, width: CELL, height: ROW - 6, class: "field" }, layer);
      layer.addEventListener("pointerenter", () => choose(l));
      field.addEventListener("pointerdown", (event) => press(event, l));
      parts.push({ box, arc });
    }
    if (chosen !== null) choose(chosen);
  }

  function show() {
    if (!frame) return;
    const fit = (cell) => Math.max(5, Math.floor(space() / cell) - 1);
    const perRow = frame.depth <= 2 * fit(CELL) ? fit(CELL) : fit(SMALLEST * CELL);
    const balanced = Math.ceil(frame.depth / Math.ceil(frame.depth / perRow)); // rows of equal length
    const shape = `${frame.depth} ${balanced} ${space()}`;
    if (shape !== built) {
      build(balanced);
      built = shape;
    }
    const colors = scale(frame, by);
    parts.forEach(({ box }, l) => {
      fade(l, frame.skip[l]);
      const value = colors ? colors.values[l] : null;
      box.style.fill = value === null ? "" : color(colors.fraction(value));
    });
    drawing.classList.toggle("no-skips", !frame.has_skip);
    drawing.classList.toggle("can-touch", canTouch());
    showScores(scores, frame.scores ?? []);
    drawing.setAttribute("aria-label", `${describe(frame)}. Arrow keys go from layer to layer${canTouch() ? "; Enter cuts or restores a skip, + and − weigh it" : ""}.`);
    key.textContent = "";
    if (colors) {
      key.append(`${colors.name}: ${colors.ends[0]} `);
      const bar = document.createElement("span");
      bar.className = "bar";
      bar.style.background = `linear-gradient(90deg, ${COLORS.map((c) => `rgb(${c})`).join(", ")})`;
      key.append(bar, ` ${colors.ends[1]}`);
    } else {
      const values = by === "multiplier" ? frame.multiplier : frame.grad_norm;
      key.textContent = `${by}: ${values ? "none to colour by" : "none"}`;
    }
    say();
  }

  drawing.addEventListener("pointerleave", () => choose(null));
  drawing.addEventListener("keydown", (event) => {
    const moves = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity };
    const weighs = { Enter: null, " ": null, "+": 0.1, "-": -0.1 };
    const isWeighing = event.key in weighs && canTouch() && chosen !== null;
    if (!frame || !(event.key in moves || isWeighing) || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    if (!isWeighing) choose(chosen === null ? 0 : chosen + moves[event.key]);
    else if (weighs[event.key] === null) toggle(chosen);
    else set(chosen, frame.skip[chosen] + weighs[event.key]);
  });
  const watch = new ResizeObserver(() => requestAnimationFrame(show));
  watch.observe(el);

  return {
    show(next) {
      frame = structuredClone(next); // a hand may change it
      if (chosen !== null && chosen >= frame.depth) chosen = null;
      show();
    },
    colorBy(name) {
      by = name;
      show();
    },
    close: () => watch.disconnect(),
  };
}

// As an anywidget.
function render({ model, el }) {
  const drawn = network(el, (layer, weight) => model.send({ layer, weight }));
  const show = () => model.get("frame").depth && drawn.show(model.get("frame"));
  const recolor = () => drawn.colorBy(model.get("color_by"));
  recolor();
  show();
  model.on("change:frame", show);
  model.on("change:color_by", recolor);
  return () => {
    model.off("change:frame", show);
    model.off("change:color_by", recolor);
    drawn.close();
  };
}

export default { render };
