// plotly's widget, whose script takes seconds to read: it is asked for after this one is there, once for all figures.

const LONGEST_WAIT = 3_000; // milliseconds

function read(model) {
  const address = () => URL.createObjectURL(new Blob([model.get("_plotly")], { type: "text/javascript" }));
  globalThis.vanTutorialPlotly ??= import(address()).catch((error) => {
    globalThis.vanTutorialPlotly = undefined; // the next figure tries again
    throw error;
  });
  return globalThis.vanTutorialPlotly;
}

// What was sent meanwhile is lost: the kernel is asked for the figure as it is now, if it has time.
function refresh(model) {
  return new Promise((resolve) => {
    const done = () => {
      model.off("msg:custom", done);
      resolve();
    };
    model.on("msg:custom", done);
    model.send("now");
    setTimeout(done, LONGEST_WAIT);
  });
}

export default () => {
  let made = null;
  return {
    initialize({ model }) {
      made = read(model).then(async ({ default: plotly }) => {
        await refresh(model);
        const widget = plotly();
        widget.initialize({ model });
        return widget;
      });
      made.catch(() => {}); // said where it is shown
    },
    async render(context) {
      const { el, signal } = context;
      el.textContent = "The figure is being loaded …";
      try {
        const widget = await made;
        if (signal?.aborted) return undefined;
        el.textContent = "";
        return widget.render(context);
      } catch (error) {
        el.textContent = `The figure could not be loaded (${error.message}): run the cell again.`;
        return undefined;
      }
    },
  };
};
