// Sliders, the numbers beside them and play buttons get the names that screen readers look for: ipywidgets gives none.

const BUTTONS = { "fa-play": "Play or pause", "fa-pause": "Play or pause", "fa-stop": "Stop", "fa-retweet": "Repeat" };
const LONGEST_WAIT = 20_000; // milliseconds until all controls are there

function nameParts(panel) {
  const sliders = [...panel.querySelectorAll(".widget-slider")];
  for (const slider of sliders) {
    const name = slider.querySelector(".widget-label")?.textContent ?? "";
    slider.querySelector(".noUi-handle")?.setAttribute("aria-label", name);
    const readout = slider.querySelector(".widget-readout");
    readout?.setAttribute("role", "textbox");
    readout?.setAttribute("aria-label", name);
  }
  for (const icon of panel.querySelectorAll(".widget-play button > i")) {
    const name = Object.keys(BUTTONS).find((key) => icon.classList.contains(key));
    icon.parentElement.setAttribute("aria-label", BUTTONS[name] ?? "Play");
  }
  return sliders.length > 0 && sliders.every((slider) => slider.querySelector(".noUi-handle"));
}

function render({ el }) {
  const started = Date.now();
  let timer = setTimeout(function wait() {
    const panel = el.closest(".van-panel");
    const isDone = panel !== null && nameParts(panel);
    if (!isDone && Date.now() - started < LONGEST_WAIT) timer = setTimeout(wait, 200);
  });
  return () => clearTimeout(timer);
}

export default { render };
