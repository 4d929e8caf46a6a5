// A recorded run, replayed without a kernel: the drawing, the figure and a scrubber. `network` and `Plotly` are there.

function replay(root) {
  const { frames, moments, figure, texts } = JSON.parse(root.querySelector(".van-replay-data").textContent);
  const scrubber = root.querySelector(".van-replay-scrubber");
  const play = root.querySelector(".van-replay-play");
  const words = root.querySelector(".van-replay-step");
  const chart = root.querySelector(".van-replay-figure");
  const drawn = network(root.querySelector(".van-replay-network"));
  let timer = null;

  function show() {
    const index = Number(scrubber.value);
    const { y, traces, shapes } = moments[index];
    drawn.show(frames[index]);
    words.textContent = texts[index];
    scrubber.setAttribute("aria-valuetext", texts[index]);
    if (chart.data) Plotly.update(chart, { y }, { shapes }, traces);
  }

  function pause() {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
  }

  function start() {
    if (Number(scrubber.value) >= frames.length - 1) scrubber.value = 0;
    play.textContent = "Pause";
    timer = setInterval(() => {
      scrubber.value = Number(scrubber.value) + 1;
      show();
      if (Number(scrubber.value) >= frames.length - 1) pause();
    }, 120);
  }

  play.addEventListener("click", () => (timer === null ? start() : pause()));
  scrubber.addEventListener("input", () => {
    pause();
    show();
  });
  root.querySelector(".van-replay-color").addEventListener("change", (event) => drawn.colorBy(event.target.value));
  scrubber.value = frames.length - 1;
  show();
  Plotly.newPlot(chart, figure.data, figure.layout, { responsive: true, displaylogo: false, showSendToCloud: false });
}
