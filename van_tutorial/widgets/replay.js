// A recorded run, replayed without a kernel: the drawing, the figure and a scrubber. `network` and `Plotly` are there.
// plotly's own slider cannot be moved by keyboard: an input takes its place, and both drawing and figure follow it.

const SHORTEST = 9000; // milliseconds that a replay takes at least: time to read beside

function replay(root) {
  const { drawings, texts, figure } = JSON.parse(root.querySelector(".van-replay-data").textContent);
  const scrubber = root.querySelector(".van-replay-scrubber");
  const play = root.querySelector(".van-replay-play");
  const words = root.querySelector(".van-replay-step");
  const chart = root.querySelector(".van-replay-figure");
  const drawn = network(root.querySelector(".van-replay-network"));
  const now = { mode: "immediate", frame: { duration: 0, redraw: true }, transition: { duration: 0 } };
  let timer = null;

  function show() {
    const index = Number(scrubber.value);
    drawn.show(drawings[index]);
    words.textContent = texts[index];
    scrubber.setAttribute("aria-valuetext", texts[index]);
    if (chart?.data) Plotly.animate(chart, [figure.frames[index].name], now);
  }

  function pause() {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
  }

  function start() {
    if (Number(scrubber.value) >= drawings.length - 1) scrubber.value = 0;
    play.textContent = "Pause";
    timer = setInterval(() => {
      scrubber.value = Number(scrubber.value) + 1;
      show();
      if (Number(scrubber.value) >= drawings.length - 1) pause();
    }, Math.max(120, SHORTEST / drawings.length));
  }

  play.addEventListener("click", () => (timer === null ? start() : pause()));
  scrubber.addEventListener("input", () => {
    pause();
    show();
  });
  scrubber.value = figure ? drawings.length - 1 : 0;
  show();
  if (!figure) return;
  root.querySelector(".van-replay-color").addEventListener("change", (event) => drawn.colorBy(event.target.value));
  const { sliders, updatemenus, ...layout } = figure.layout;
  const config = { responsive: true, displaylogo: false, showSendToCloud: false };
  Plotly.newPlot(chart, { data: figure.data, layout, frames: figure.frames, config });
}
