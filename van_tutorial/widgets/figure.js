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

// The model as plotly sees it. Its views never stop listening, and one that is taken away would draw into nothing:
// `heard` keeps who listens.
function listenedTo(model, heard) {
  const on = (event, call) => {
    heard.push([event, call]);
    model.on(event, call);
  };
  return { on, get: (name) => model.get(name), set: (name, value) => model.set(name, value),
    save_changes: () => model.save_changes() };
}

export default () => {
  let made = null;
  const heard = [];
  return {
    initialize({ model }) {
      made = read(model).then(async ({ default: plotly }) => {
        await refresh(model);
        const widget = plotly();
        widget.initialize({ model: listenedTo(model, heard) });
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
        const known = heard.length;
        const remove = widget.render(context);
        const own = heard.slice(known);
        return () => {
          for (const [event, call] of own) model.off(event, call);
          remove();
        };
      } catch (error) {
        el.textContent = `The figure could not be loaded (${error.message}): run the cell again.`;
        return undefined;
      }
    },
  };
};
