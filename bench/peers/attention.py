"""The Python peers of `kernels::attention` and `kernels::kmeans`: PyTorch's scaled_dot_product_attention and compiled
flex_attention, scikit-learn's KMeans and PyTorch's matmul.

A fair comparison on a noisy machine runs all peers in turn, round by round, in one sitting. So this is a server: whoever
compares has things loaded once, then asks for short rounds; this program answers, one line of JSON each.

    python3 -m venv peers
    peers/bin/pip install numpy torch==2.15.0 scikit-learn   # flex_attention is compiled: it needs g++ too
    peers/bin/python bench/peers/attention.py

    first line   {"peers": [{"name", "title", "version"}...], "missing": [{"name", "why"}...]}
    load         {"load": "a", "do": "sdpa", "shape": {"heads": 2, "queries": 4096, "width": 64}, "threads": 2}
    answer       {"loaded": "a", "shape": [1, 2, 4096, 64]...}
    round        {"run": "a", "runs": 5} and, if wished, "output": "o.npy"
    answer       {"seconds": 0.091, "least": 0.09, "runs": 5} and, if wished, "output": "o.npy"
    forget       {"drop": "a"}
    answer       {"dropped": "a"}
    refusal      {"error": "one line"}, to anything; the server goes on

`seconds` of a round is the median of its single calls, `least` the shortest. `threads` (1) belongs to the thing. Each
thing is warmed up, and compiled, when it is loaded; the answer's `load_seconds` tells how long that took.

What can be loaded, by its `do`:

    sdpa    torch.nn.functional.scaled_dot_product_attention, without a mask or with "causal": true (PyTorch aligns it
            top-left, so it is refused unless there are as many queries as keys). With "blocks" the mask is expanded to
            all pairs, as whoever has nothing but it must do; its own memory is queries x keys bytes.
    flex    torch.compile(flex_attention), dense or with "blocks", without a rule for pairs within a block. PyTorch 2.15
            has no backward of it on CPU; it then answers with PyTorch's refusal.

    kmeans  sklearn.cluster.KMeans(algorithm="lloyd") from given centroids, "iterations" of them; "output" gets the inertia.
    matmul  "x" times the transpose of "init": what an iteration of k-means cannot do without.

The last two are given "x", [points, width], and "init", [clusters, width], as paths of .npy files of f32. All others:
tensors are [batch, heads, rows, width] of f32: either "q", "k", "v" (and "out_gradient") as paths of .npy files, or a
"shape" of {"batch" 1, "heads", "kv_heads" heads, "queries", "keys" queries, "width", "value_width" width}, of random
numbers N(0, 1), "seed" 20. `scale` is 1 / sqrt(width) unless given. "pass" is "forward" (default), "backward" (the
gradients of q, k and v from a kept forward pass; only these are timed), or "both". "output" gets o, or with "backward"
dq, as .npy.

"blocks" is {"query_block", "key_block", "offsets": [...], "columns": [...]}, the compressed rows of our masks, the same
for all heads; offsets and columns are lists, or paths of .npy files of integers.
"""

import argparse
import importlib
import importlib.metadata
import json
import math
import os
import statistics
import sys
import time
import warnings

import numpy as np

WARM_UP = 2  # calls
NAP = 0.02  # seconds; some kernels count a process's time in steps of 10 ms
SPINNING = 0.25  # of one core, in a nap: above it somebody still spins
NAPS = 25  # then the round is answered all the same


def read(path):
    values = np.load(path, allow_pickle=False)
    if values.dtype != np.float32 or values.ndim != 4:
        raise ValueError(f"{path}: holds {values.dtype} {list(values.shape)}, not float32 [batch, heads, rows, width]")
    return torch.from_numpy(np.ascontiguousarray(values))


def tensors(request):
    """q, k, v and the gradient of o."""
    if "q" in request:
        q, k, v = (read(request[name]) for name in "qkv")
        generator = torch.Generator().manual_seed(request.get("seed", 20))
        if "out_gradient" in request:
            return q, k, v, read(request["out_gradient"])
        return q, k, v, torch.randn(*q.shape[:3], v.shape[3], generator=generator)
    shape = request["shape"]
    batch, heads, queries, width = shape.get("batch", 1), shape["heads"], shape["queries"], shape["width"]
    kv_heads, keys = shape.get("kv_heads", heads), shape.get("keys", queries)
    value_width = shape.get("value_width", width)
    generator = torch.Generator().manual_seed(request.get("seed", 20))
    keys_of, values_of = (kv_heads, keys, width), (kv_heads, keys, value_width)
    extents = [(heads, queries, width), keys_of, values_of, (heads, queries, value_width)]
    return tuple(torch.randn(batch, *extent, generator=generator) for extent in extents)


class Blocks:
    """Compressed rows of a mask of blocks."""

    def __init__(self, given, queries, keys):
        self.size = given["query_block"], given["key_block"]
        numbers = lambda value: np.load(value, allow_pickle=False) if isinstance(value, str) else np.array(value)
        self.offsets, self.columns = numbers(given["offsets"]).astype(int), numbers(given["columns"]).astype(int)
        self.queries, self.keys = queries, keys
        rows, columns = -(-queries // self.size[0]), -(-keys // self.size[1])
        if len(self.offsets) != rows + 1 or self.offsets[-1] != len(self.columns):
            raise ValueError(f"blocks: {len(self.offsets)} offsets for {rows} rows of blocks")
        self.seen = torch.zeros(rows, columns, dtype=torch.bool)
        for row in range(rows):
            self.seen[row, self.columns[self.offsets[row] : self.offsets[row + 1]]] = True

    def pairs(self):
        """A matrix of all pairs."""
        seen = self.seen.repeat_interleave(self.size[0], 0).repeat_interleave(self.size[1], 1)
        return seen[: self.queries, : self.keys].contiguous()

    def block_mask(self):
        from torch.nn.attention.flex_attention import BlockMask

        count = self.seen.sum(1, dtype=torch.int32)[None, None]
        # The columns of a row first, ascending; what follows is not read.
        order = torch.argsort(~self.seen, dim=1, stable=True).to(torch.int32)[None, None]
        # Told that these are wholly visible, PyTorch 2.15 writes C++ that does not compile; without a rule within blocks
        # they are just that.
        return BlockMask.from_kv_blocks(count, order, BLOCK_SIZE=self.size, seq_lengths=(self.queries, self.keys))


def clustering(request, threads):
    """A step of k-means or of its product."""
    x, init = (np.load(request[name], allow_pickle=False) for name in ("x", "init"))
    if request["do"] == "matmul":
        x, centroids = torch.from_numpy(x), torch.from_numpy(init).T
        return lambda: x @ centroids
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    def fit():
        with warnings.catch_warnings(), threadpool_limits(threads):
            warnings.simplefilter("ignore")  # that it has not converged
            told = {"n_clusters": len(init), "init": init, "n_init": 1, "tol": 0, "algorithm": "lloyd"}
            return torch.tensor([KMeans(max_iter=request["iterations"], **told).fit(x).inertia_], dtype=torch.float32)

    return fit


class Loaded:
    """A thing with its tensors: `step` is what is timed."""

    def __init__(self, request):
        began = time.perf_counter()
        self.threads = request.get("threads", 1)
        torch.set_num_threads(self.threads)
        if request["do"] in ("kmeans", "matmul"):
            self.step = torch.no_grad()(clustering(request, self.threads))
        else:
            self.step, blocks = self.attention(request)
            if blocks is not None:
                self.told = {"density": blocks.pairs().double().mean().item()}
        for _ in range(WARM_UP):
            result = self.step()
        self.told = {"shape": list(result.shape), "load_seconds": time.perf_counter() - began, **getattr(self, "told", {})}

    @staticmethod
    def attention(request):
        """A step of attention, and its blocks if it has any."""
        q, k, v, gradient = tensors(request)
        queries, keys = q.shape[2], k.shape[2]
        scale = request.get("scale", 1 / math.sqrt(q.shape[3]))
        blocks = Blocks(request["blocks"], queries, keys) if "blocks" in request else None
        causal, grouped = request.get("causal", False), q.shape[1] != k.shape[1]
        if causal and (queries != keys or blocks):
            raise ValueError("causal: as many queries as keys, and no blocks")
        if request["do"] == "sdpa":
            mask = None if blocks is None else blocks.pairs()
            attend = lambda: F.scaled_dot_product_attention(
                q, k, v, attn_mask=mask, is_causal=causal, scale=scale, enable_gqa=grouped
            )
        elif request["do"] == "flex":
            from torch.nn.attention.flex_attention import flex_attention

            if causal:
                raise ValueError("causal: ask sdpa")
            compiled = torch.compile(flex_attention, dynamic=False)
            mask = None if blocks is None else blocks.block_mask()
            attend = lambda: compiled(q, k, v, block_mask=mask, scale=scale, enable_gqa=grouped)
        else:
            raise ValueError(f"do is {request['do']}; expected sdpa, flex, kmeans or matmul")
        which = request.get("pass", "forward")
        if which == "forward":
            return torch.no_grad()(attend), blocks
        if which not in ("backward", "both"):
            raise ValueError(f"pass is {which}; expected forward, backward or both")
        inputs = [tensor.requires_grad_() for tensor in (q, k, v)]
        kept = attend() if which == "backward" else None
        out = (lambda: kept) if which == "backward" else attend
        return lambda: torch.autograd.grad(out(), inputs, gradient, retain_graph=which == "backward")[0], blocks

    def round(self, request):
        torch.set_num_threads(self.threads)
        seconds = []
        for _ in range(max(1, request.get("runs", 5))):
            start = time.perf_counter()
            result = self.step()
            seconds.append(time.perf_counter() - start)
        reply = {"seconds": statistics.median(seconds), "least": min(seconds), "runs": len(seconds)}
        if "output" in request:
            # A name without .npy would get it from numpy, and the caller would look in vain.
            with open(request["output"], "wb") as file:
                np.save(file, result.detach().contiguous().numpy())
            reply["output"] = request["output"]
        settle(self.threads)
        return reply


def settle(threads):
    """Waits until no other thread of this process spins, so that it does not disturb whoever runs next."""
    for _ in range(NAPS if threads > 1 else 0):
        start = time.process_time()
        time.sleep(NAP)
        if time.process_time() - start < SPINNING * NAP:
            return


def answer(things, request):
    if "load" in request:
        loaded = Loaded(request)
        things[request["load"]] = loaded
        settle(loaded.threads)
        return {"loaded": request["load"], **loaded.told}
    for word in ("run", "drop"):
        if word in request and request[word] not in things:
            raise ValueError(f"nothing is loaded as {request[word]}")
    if "run" in request:
        return things[request["run"]].round(request)
    if "drop" in request:
        del things[request["drop"]]
        return {"dropped": request["drop"]}
    raise ValueError("a request has one of: load, run, drop")


def present():
    """Imports PyTorch; tells what is there and what is not."""
    try:
        globals()["torch"] = importlib.import_module("torch")
    except Exception as error:
        sys.exit(f"attention.py: {type(error).__name__}: {error}; see the head of this file")
    globals()["F"] = torch.nn.functional
    version = importlib.metadata.version("torch")
    peers, missing = [{"name": "sdpa", "title": "PyTorch SDPA", "version": version}], []
    try:
        importlib.import_module("torch.nn.attention.flex_attention")
        peers.append({"name": "flex", "title": "PyTorch flex_attention, compiled", "version": version})
    except Exception as error:
        missing.append({"name": "flex", "why": " ".join(f"{type(error).__name__}: {error}".split())})
    peers.append({"name": "matmul", "title": "PyTorch matmul", "version": version})
    try:
        importlib.import_module("sklearn.cluster")
        known = importlib.metadata.version("scikit-learn")
        peers.append({"name": "kmeans", "title": "scikit-learn KMeans", "version": known})
    except Exception as error:
        missing.append({"name": "kmeans", "why": " ".join(f"{type(error).__name__}: {error}".split())})
    return {"peers": peers, "missing": missing}


def main():
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    # From here on descriptor 1 is stderr: libraries print there, and the protocol must stay clean.
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    print(json.dumps(present()), file=replies)
    things = {}
    for line in sys.stdin:
        try:
            reply = answer(things, json.loads(line))
        except Exception as error:
            reply = {"error": " ".join(f"{type(error).__name__}: {error}".split())[:400]}
        print(json.dumps(reply), file=replies)


if __name__ == "__main__":
    main()
