"""The arena that tflite-micro takes for a network, beside the peak of Tersor's plans.

    python3 -m venv peers && peers/bin/pip install numpy tflite-micro==0.dev20261023182759
    cargo build --release
    peers/bin/python bench/peers/tiny_arena.py target/release/tersor MODEL.tflite...

tflite-micro prints its allocations on stderr; the head of its arena holds the activations, the total also what its
interpreter needs. Tersor's peaks hold scratch, and every plan was executed in a trapped arena by the tests.
"""

import json
import os
import re
import subprocess
import sys


def peer(model):
    """Total and head of tflite-micro's arena in bytes, in a process of its own."""
    code = (
        "import sys\n"
        "from tflite_micro import runtime\n"
        "i = runtime.Interpreter.from_file(sys.argv[1], arena_size=4 << 20)\n"
        "i.print_allocations()\n"
    )
    run = subprocess.run([sys.executable, "-c", code, model], capture_output=True, text=True)
    text = run.stderr + run.stdout
    total = re.search(r"Arena allocation total (\d+)", text)
    head = re.search(r"Arena allocation head (\d+)", text)
    if not total or not head:
        return None
    return int(total.group(1)), int(head.group(1))


def plan(tersor, model, *flags):
    run = subprocess.run([tersor, "tiny", "plan", model, "--json", *flags], capture_output=True, text=True)
    return json.loads(run.stdout) if run.returncode == 0 else None


def main():
    tersor, *models = sys.argv[1:]
    columns = ("network", "TFLM total", "TFLM head", "layers", "resident", "streamed", "extra MACs", "total/layers")
    print(" | ".join(columns))
    for model in models:
        arena = peer(model)
        layers = plan(tersor, model, "--patches", "none")
        resident = plan(tersor, model)
        streamed = plan(tersor, model, "--input", "streamed")
        if not arena or not layers:
            print(os.path.basename(model), "| not planned or not run by the peer")
            continue
        extra = 100 * streamed["extra_macs"] / max(1, streamed["macs"])
        print(
            os.path.basename(model), *arena, layers["peak_bytes"], resident["peak_bytes"], streamed["peak_bytes"],
            f"{extra:.1f} %", f"{arena[0] / layers['peak_bytes']:.2f}", sep=" | ",
        )


if __name__ == "__main__":
    main()
