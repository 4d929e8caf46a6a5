// Sliders and play buttons get the names that screen readers look for, which ipywidgets does not give them.

const BUTTONS = { "fa-play": "Play or pause", "fa-pause": "Play or pause", "fa-stop": "Stop", "fa-retweet": "Repeat" };
const LONGEST_WAIT = 20_000; // milliseconds until all controls are there

function mend(panel) {
  const sliders = [...panel.querySelectorAll(".widget-slider")];
  const handles = sliders.map((slider) => slider.querySelector(".noUi-handle"));
  handles.forEach((handle, i) =>
    handle?.setAttribute("aria-label", sliders[i].querySelector(".widget-label")?.textContent ?? ""));
  for (const icon of panel.querySelectorAll(".widget-play button > i")) {
    const name = Object.keys(BUTTONS).find((key) => icon.classList.contains(key));
    icon.parentElement.setAttribute("aria-label", BUTTONS[name] ?? "Play");
  }
  return sliders.length > 0 && handles.every(Boolean);
}

function render({ el }) {
  const started = Date.now();
  let timer = setTimeout(function wait() {
    const panel = el.closest(".van-panel");
    const isDone = panel !== null && mend(panel);
    if (!isDone && Date.now() - started < LONGEST_WAIT) timer = setTimeout(wait, 200);
  });
  return () => clearTimeout(timer);
}

export default { render };
