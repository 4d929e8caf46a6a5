"""What watching costs: the playground's live training over the same training without a panel.

    python -m benchmarks.playground

A variable activation network of width 32 on the embedded images, depths 40 and 100, one thread. The panel stands in a
kernel of its own, as in a notebook, so that every message to a browser is made and sent; the browser itself, which
works beside the kernel, is not counted. Prints a table and writes its section of docs/performance.md.
"""

import json
import queue
import sys

import torch
from jupyter_client.manager import start_new_kernel

from benchmarks.measure import ratio, write_section
from van_tutorial import data, training, widgets
from van_tutorial.playground import Recording, Settings

NUM_ROUNDS = 7
MARK = "rows: "


def measure() -> None:
    """Measure in this kernel, and print the rows."""
    torch.set_num_threads(1)
    images = data.load()
    rows = []
    for depth, num_epochs in ((40, 6), (100, 3)):
        settings = Settings(depth=depth, num_epochs=num_epochs)
        panel = widgets.Playground(images, settings)

        def live(panel: widgets.Playground = panel) -> None:
            panel.train.click()
            panel.wait()

        def headless(settings: Settings = panel.state.run.settings) -> None:
            Recording.train(settings, images)

        def bare(settings: Settings = panel.state.run.settings) -> None:
            trainer = settings.trainer(images)
            training.train(
                trainer.model, images, training.TrainConfig(num_epochs=settings.num_epochs, device="cpu")
            )

        steps = panel.state.run.num_steps
        compare = {
            "live / headless, with the same records": (live, headless, "at most 1.11"),
            "headless with the playground's records / one record an epoch": (headless, bare, "–"),
        }
        rows += [
            ratio(f"{name}, depth {depth}", one, other, aim, NUM_ROUNDS, steps)
            for name, (one, other, aim) in compare.items()
        ]
        panel.close()
    print(MARK + json.dumps(rows))


def measure_in_a_kernel() -> list[str]:
    """Return the rows that `measure` prints in a new kernel."""
    manager, client = start_new_kernel(extra_arguments=["--Application.log_level=ERROR"])
    try:
        client.execute("from benchmarks import playground; playground.measure()")
        while True:
            message = client.get_iopub_msg(timeout=600)
            if message["msg_type"] == "error":
                raise RuntimeError("\n".join(message["content"]["traceback"]))
            for line in message["content"].get("text", "").splitlines():
                if line.startswith(MARK):
                    return list(json.loads(line.removeprefix(MARK)))
                print(line, flush=True)
    except queue.Empty:
        sys.exit("The kernel said nothing for ten minutes.")
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def main() -> None:
    """Measure and write."""
    about = f"""\
{NUM_ROUNDS} rounds; the two sides of a ratio take turns, a whole training each. Fully connected VAN, width 32, batch
normalization, batches of 128; the panel in a kernel of its own; milliseconds are those of a step."""
    remarks = """\
The aim: training live is at least 0.9 times as fast as without a panel, a ratio of at most 1.11. The second ratio is
what the records themselves cost: each has an evaluation on 1,000 test images, and the correlation of the
gradients at 32 of them."""
    write_section("playground", measure_in_a_kernel(), about, remarks)


if __name__ == "__main__":
    main()
