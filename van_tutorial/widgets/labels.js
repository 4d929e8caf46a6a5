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
  const isThere = sliders.length > 0 && sliders.every((slider) => slider.querySelector(".noUi-handle"));
  return isThere && panel.querySelector(".js-plotly-plot .main-svg") !== null;
}

function render({ el }) {
  const started = Date.now();
  // A figure takes the width of the window's next resize: it is told of every change of its own place.
  const watch = new ResizeObserver(() => window.dispatchEvent(new Event("resize")));
  let timer = setTimeout(function wait() {
    const panel = el.closest(".van-panel");
    const isDone = panel !== null && nameParts(panel);
    for (const figure of panel?.querySelectorAll(".js-plotly-plot") ?? []) watch.observe(figure.parentElement);
    if (!isDone && Date.now() - started < LONGEST_WAIT) timer = setTimeout(wait, 200);
  });
  return () => {
    clearTimeout(timer);
    watch.disconnect();
  };
}

export default { render };
