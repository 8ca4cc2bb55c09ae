"""The Python peers of `tersor tiny bench`: LiteRT with XNNPACK, LiteRT's reference kernels, tflite-micro.

A fair comparison on a noisy machine runs all peers in turn, round by round, in one sitting. So this is a server: the
command asks for a short round, this program runs it and answers, one line of JSON each.

    python3 -m venv peers
    peers/bin/pip install numpy tflite-micro==0.dev20261023182759 ai-edge-litert==2.3.0
    peers/bin/python bench/peers/tiny.py --threads 1

    first line   {"peers": [{"name", "title", "version"}...], "missing": [{"name", "why"}...]}
    request      {"peer": "litert-xnnpack", "model": "x.tflite", "input": "in.npy" or null, "seconds": 0.05}
    answer       {"calls": 812, "seconds": 0.0501, "crc32": ["1c291ca3"...]}  or  {"error": "one line"}

`input` holds one sample of the model's own type and shape, null means zeros. Only the calls are timed. `crc32` is that
of each output's bytes after the very first call: later ones would show what a streaming network remembers (LiteRT has
no way to clear it), or an input overwritten (tflite-micro's arena gives its place to other tensors).

LiteRT takes `--threads`; tflite-micro knows one thread. What the libraries print goes to stderr.
"""

import argparse
import importlib.metadata
import json
import os
import sys
import time
import zlib
from itertools import repeat

ARENA = 64 << 20  # bytes; untouched pages cost nothing
WARM_UP = 0.02  # seconds, once per model and input: caches, page faults, thread pool
CHUNK = 0.005  # seconds between two looks at the clock


class LiteRT:
    """One model in LiteRT, with the delegate XNNPACK or with the reference kernels."""

    def __init__(self, model, threads, reference):
        kind = litert.OpResolverType.BUILTIN_REF if reference else litert.OpResolverType.BUILTIN
        self.interpreter = litert.Interpreter(model, num_threads=threads, experimental_op_resolver_type=kind)
        self.interpreter.allocate_tensors()
        delegates = sum(op["op_name"] == "DELEGATE" for op in self.interpreter._get_ops_details())
        if bool(delegates) == reference:
            raise RuntimeError("XNNPACK took operators it should not" if reference else "XNNPACK took no operator")
        # The public `invoke` checks first that no array views a tensor: 0.5 us that the engine is not to blame for.
        self.invoke = self.interpreter._interpreter.Invoke

    def inputs(self):
        return [(tuple(t["shape"].tolist()), t["dtype"]) for t in self.interpreter.get_input_details()]

    def write(self, index, values):
        self.interpreter.set_tensor(self.interpreter.get_input_details()[index]["index"], values)

    def outputs(self):
        return [self.interpreter.get_tensor(t["index"]) for t in self.interpreter.get_output_details()]


class Micro:
    """One model in tflite-micro. The wheel cannot count inputs and outputs: the model file does."""

    def __init__(self, model):
        with open(model, "rb") as file:
            content = file.read()
        graph = micro.convert_bytearray_to_object(content).subgraphs[0]
        self.counts = len(graph.inputs), len(graph.outputs)
        self.interpreter = micro.Interpreter.from_bytes(content, arena_size=ARENA)
        self.invoke = self.interpreter._interpreter.Invoke

    def inputs(self):
        details = (self.interpreter.get_input_details(i) for i in range(self.counts[0]))
        return [(tuple(t["shape"].tolist()), t["dtype"]) for t in details]

    def write(self, index, values):
        self.interpreter.set_input(values, index)

    def outputs(self):
        return [self.interpreter.get_output(i) for i in range(self.counts[1])]


def calls(invoke, count):
    """Seconds of `count` calls."""
    start = time.perf_counter()
    for _ in repeat(None, count):
        invoke()
    return time.perf_counter() - start


class Loaded:
    """A network with its input, after its first call and a warm-up."""

    def __init__(self, network, path):
        self.network, self.values = network, sample(network, path)
        self.write()
        network.invoke()
        self.crc32 = [f"{zlib.crc32(np.ascontiguousarray(out).tobytes()):08x}" for out in network.outputs()]
        self.timed(WARM_UP)

    def write(self):
        for index, values in enumerate(self.values):
            self.network.write(index, values)

    def timed(self, seconds):
        """Calls and seconds of chunks that last together about `seconds`; the input is written before each."""
        count, total, chunk = 0, 0.0, 1
        while count == 0 or total < seconds:
            self.write()
            took = calls(self.network.invoke, chunk)
            count, total = count + chunk, total + took
            rest = max(0.0, min(CHUNK, seconds - total))
            chunk = max(1, round(chunk * rest / max(took, 1e-9)))
        return count, total


def sample(network, path):
    """The values of each input: the file's for a network with one input, zeros if there is no file."""
    wanted = network.inputs()
    if path is None:
        return [np.zeros(shape, kind) for shape, kind in wanted]
    values = np.load(path)
    if [(values.shape, values.dtype)] != wanted:
        shapes = ", ".join(f"{np.dtype(kind)} {list(shape)}" for shape, kind in wanted)
        raise ValueError(f"{path} holds {values.dtype} {list(values.shape)}, the model wants {shapes}")
    return [np.ascontiguousarray(values)]


def answer(loaded, build, request):
    if request["peer"] not in build:
        raise ValueError(f"no peer {request['peer']}; there are: {', '.join(build)}")
    key = request["peer"], request["model"], request.get("input")
    if key not in loaded:
        loaded[key] = Loaded(build[request["peer"]](request["model"]), request.get("input"))
    count, total = loaded[key].timed(float(request["seconds"]))
    return {"calls": count, "seconds": total, "crc32": loaded[key].crc32}


def one_line(error):
    return " ".join(f"{type(error).__name__}: {error}".split())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1, help="threads of LiteRT")
    threads = parser.parse_args().threads

    # From here on descriptor 1 is stderr: C++ libraries print there, and the protocol must stay clean.
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    global np, micro, litert  # a peer whose import fails is missing; the others serve
    build, peers, missing = {}, [], []
    try:  # tflite-micro first: imported after LiteRT it crashes
        import numpy as np
        from tflite_micro import runtime as micro

        version = importlib.metadata.version("tflite-micro")
        build["tflite-micro"] = Micro
        peers.append({"name": "tflite-micro", "title": "tflite-micro", "version": version})
    except Exception as error:
        missing.append({"name": "tflite-micro", "why": one_line(error)})
    names = {"litert-xnnpack": "LiteRT + XNNPACK", "litert-reference": "LiteRT, reference kernels"}
    try:
        import numpy as np
        from ai_edge_litert import interpreter as litert

        version = importlib.metadata.version("ai-edge-litert")
        build["litert-xnnpack"] = lambda model: LiteRT(model, threads, reference=False)
        build["litert-reference"] = lambda model: LiteRT(model, threads, reference=True)
        peers += [{"name": name, "title": title, "version": version} for name, title in names.items()]
    except Exception as error:
        missing += [{"name": name, "why": one_line(error)} for name in names]

    print(json.dumps({"peers": peers, "missing": missing}), file=replies)
    loaded = {}
    for line in sys.stdin:
        try:
            reply = answer(loaded, build, json.loads(line))
        except Exception as error:
            reply = {"error": one_line(error)}
        print(json.dumps(reply), file=replies)


if __name__ == "__main__":
    main()
