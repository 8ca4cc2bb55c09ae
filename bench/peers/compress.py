"""The Python peers of `tersor compress bench`: onnxruntime, PyTorch, torch.sparse, SciPy and Torch-Pruning.

A fair comparison on a noisy machine runs all peers in turn, round by round, in one sitting. So this is a server: the
command has things loaded once, then asks for short rounds; this program answers, one line of JSON each.

    python3 -m venv peers
    peers/bin/pip install numpy scipy torch==2.15.0 onnxruntime==1.32.0 torch-pruning==1.6.1
    peers/bin/python bench/peers/compress.py

    first line   {"peers": [{"name", "title", "version"}...], "missing": [{"name", "why"}...]}
    load         {"load": "a", "do": "csr-torch", "weights": "w.npy", "input": "x.npy", "threads": 2}
    answer       {"loaded": "a", "shape": [1, 300]...}
    round        {"run": "a", "runs": 9} and, if wished, "seconds": 0.05, "output": "y.npy"
    answer       {"seconds": 1.9e-05, "least": 1.8e-05, "runs": 9} and, if wished, "output": "y.npy"
    forget       {"drop": "a"}
    answer       {"dropped": "a"}
    all at once  {"do": "onnx", "model": "m.onnx", "input": "x.npy", "threads": 1, "runs": 9}
    answer       that of a round together with that of loading, without "loaded"
    refusal      {"error": "one line"}, to anything; the server goes on

A round is `runs` calls (9), and more until they have lasted `seconds` (0); `seconds` of the answer is the median of
single calls, `least` the shortest. `output` names a file to which the result of the last call goes as .npy (f32, or the
network's own type). Each thing is warmed up when it is loaded. `threads` (1) belongs to the thing; SciPy knows one
thread, and says so in `threads` of its answer. Files are .npy of f32 in C order; weights are [out, in] and
[out, in / groups, h, w], as PyTorch has them. After loading and after a round of several threads the server sleeps
until they have stopped spinning (0.02 to 0.1 s), so that they do not disturb whoever runs next.

What can be loaded, by its `do`:

    onnx       model, input                  onnxruntime, all optimisations, XNNPACK not asked for; results bound in
                                             place (no copy is timed). `input` is a path, or {"name": path...} where the
                                             network has several inputs. `output` holds its first result.
                                             Answers also `inputs`: {"name": shape...}.
    linear     weights, input, bias          PyTorch dense: [batch, in] -> [batch, out].
    conv       weights, input, bias,         PyTorch dense: NCHW. `padding` is p, [h, w], or [top, bottom, left, right]:
               stride 1, padding 0,          sides that differ are padded with zeros within the timed call. With
               groups 1, channels_last false `channels_last` weights and input have this layout beforehand.
    csr-torch  weights, input                torch.sparse_csr_tensor @ dense (MKL), indices i32; with `"index": 64` i64.
    csr-scipy  weights, input                scipy.sparse.csr_array @ dense, indices i32.
                                             Both take a linear layer, or a conv of 1x1 without groups, of one picture.
                                             Activations lie as [in, columns] before the clock starts, and so does the
                                             result; one column is a vector. They answer also `nonzeros`, `bytes`
                                             (values and indices).
    network    network, prune none, keep 1,  A network of random weights, dense or pruned, on random input [batch, ...]
               size, batch 1, input, seed 20 (or `input`), in PyTorch. Answers also `parameters`, `nonzeros` (of them),
                                             `macs` (of one sample), and those of the dense network as `dense`.

`network` is a name, or a chain of layers:

    resnet20   CIFAR: conv 3x3 3->16, three stages of three blocks of width 16, 32, 64, batch norm, 1x1 shortcuts
    mobilenet  MobileNetV1 of `width` 1.0, 1000 classes, batch norm, ReLU6 (`size` 224)
    [["conv", in, out, k, stride 1, padding k // 2, groups 1], ["norm", channels], ["relu"], ["max_pool", k],
     ["mean"], ["flatten"], ["linear", in, out]...]     with `size` [channels, h, w] or [in]

`prune` says by whom, `keep` which share of the dense network's parameters remains (in (0, 1]):

    none       nothing is pruned
    channels   Torch-Pruning, magnitude of groups (L2), the same share of channels in every layer (`"global": true`: the
               lowest anywhere), the last layer's outputs kept, widths a multiple of `round_to` if it is given. The
               share of channels is searched so that at most `keep` of the parameters remain; the answer tells it as
               `channels_removed`.
    mask       torch.nn.utils.prune, L1 over all weights of convolutions and linear layers at once, then made permanent:
               dense kernels over zeros. With `"permanent": false` the masks are applied in each forward pass, as while
               retraining. `keep` is then the share of these weights.
"""

import argparse
import copy
import importlib
import importlib.metadata
import json
import os
import statistics
import sys
import time

import numpy as np

WARM_UP = 0.2  # seconds, once per thing; at least three calls
SEED = 20
SEARCH = 10  # halvings of the interval that holds the share of channels
NAP = 0.02  # seconds; some kernels count a process's time in steps of 10 ms
SPINNING = 0.25  # of one core, in a nap: above it somebody still spins (onnxruntime does for 40 to 60 ms)
NAPS = 25  # then the round is answered all the same


def read(path):
    values = np.load(path, allow_pickle=False)
    if values.dtype != np.float32:
        raise ValueError(f"{path}: holds {values.dtype}, not float32")
    return np.ascontiguousarray(values)


def tensor(path):
    return torch.from_numpy(read(path))


def need(module):
    if module not in globals():
        raise ValueError(f"{module} is not there; the greeting says why")


# ---- layers


class Onnx:
    """A network in onnxruntime. Inputs and results are bound once; `run` of a session would copy them."""

    def __init__(self, request, threads):
        need("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        self.session = onnxruntime.InferenceSession(request["model"], options, providers=["CPUExecutionProvider"])
        wanted = {value.name: value.shape for value in self.session.get_inputs()}
        given = request["input"]
        given = given if isinstance(given, dict) else {next(iter(wanted)): given}
        if set(given) != set(wanted):
            raise ValueError(f"the network's inputs are {', '.join(wanted)}; given are {', '.join(given)}")
        values = {name: np.ascontiguousarray(np.load(path, allow_pickle=False)) for name, path in given.items()}
        self.binding = self.session.io_binding()
        self.held = [onnxruntime.OrtValue.ortvalue_from_numpy(value) for value in values.values()]
        for name, value in zip(values, self.held):
            self.binding.bind_ortvalue_input(name, value)
        names = [value.name for value in self.session.get_outputs()]
        for name in names:
            self.binding.bind_output(name)
        self.session.run_with_iobinding(self.binding)
        # The results have their shapes now: later calls write to the same place.
        self.results = self.binding.get_outputs()
        self.binding.clear_binding_outputs()
        for name, value in zip(names, self.results):
            self.binding.bind_ortvalue_output(name, value)
        self.told = {"inputs": {name: list(value.shape) for name, value in values.items()}}

    def step(self):
        self.session.run_with_iobinding(self.binding)

    def result(self, _):
        return self.results[0].numpy()


class Torch:
    """Anything that PyTorch computes: `step` gives a tensor."""

    def __init__(self, function, told=None, shape=None):
        self.step, self.told, self.shape = function, told or {}, shape

    def result(self, out):
        out = out.detach().contiguous().numpy()
        return out if self.shape is None else np.ascontiguousarray(self.shape(out))


def linear(request, _):
    weights, x = tensor(request["weights"]), tensor(request["input"])
    bias = tensor(request["bias"]) if request.get("bias") else None
    return Torch(lambda: F.linear(x, weights, bias))


def conv(request, _):
    weights, x = tensor(request["weights"]), tensor(request["input"])
    bias = tensor(request["bias"]) if request.get("bias") else None
    if request.get("channels_last"):
        weights, x = (value.contiguous(memory_format=torch.channels_last) for value in (weights, x))
    stride, groups, padding = request.get("stride", 1), request.get("groups", 1), request.get("padding", 0)
    if isinstance(padding, list) and len(padding) == 4:
        top, bottom, left, right = padding
        if (top, left) != (bottom, right):
            sides = (left, right, top, bottom)
            return Torch(lambda: F.conv2d(F.pad(x, sides), weights, bias, stride, 0, 1, groups))
        padding = [top, left]
    return Torch(lambda: F.conv2d(x, weights, bias, stride, padding, 1, groups))


def matrix_product(request):
    """Weights [out, in], activations [in, columns] or [in], and what shapes a result of [out, columns] back."""
    weights, x = read(request["weights"]), read(request["input"])
    if weights.ndim == 4 and weights.shape[2:] == (1, 1) and x.ndim == 4 and x.shape[0] == 1:
        shape = (1, weights.shape[0], *x.shape[2:])
        weights, columns, back = weights[:, :, 0, 0], x[0].reshape(x.shape[1], -1), lambda y: y.reshape(shape)
    elif weights.ndim == 2 and x.ndim == 2:
        columns, back = x.T, lambda y: y.reshape(len(weights), -1).T
    else:
        raise ValueError(f"sparse peers take [out, in] and [batch, in], or [out, in, 1, 1] and [1, in, h, w]: "
                         f"not {weights.shape} and {x.shape}")  # fmt: skip
    columns = np.ascontiguousarray(columns)
    return np.ascontiguousarray(weights), columns[:, 0].copy() if columns.shape[1] == 1 else columns, back


def csr_scipy(request, _):
    need("scipy")
    weights, columns, back = matrix_product(request)
    matrix = scipy.sparse.csr_array(weights)
    stored = matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes
    peer = Torch(lambda: matrix @ columns, {"nonzeros": int(matrix.nnz), "bytes": stored, "threads": 1})
    peer.result = lambda out: np.ascontiguousarray(back(out))
    return peer


def csr_torch(request, _):
    weights, columns, back = matrix_product(request)
    index = {32: torch.int32, 64: torch.int64}[request.get("index", 32)]
    dense = torch.from_numpy(weights).to_sparse_csr()
    parts = dense.crow_indices().to(index), dense.col_indices().to(index), dense.values()
    matrix, columns = torch.sparse_csr_tensor(*parts, size=weights.shape), torch.from_numpy(columns)
    stored = sum(part.numel() * part.element_size() for part in parts)
    return Torch(lambda: matrix @ columns, {"nonzeros": parts[2].numel(), "bytes": stored}, back)


# ---- networks


def chain(layers):
    def layer(name, *sizes):
        if name == "conv":
            inputs, outputs, k, stride, padding, groups = (*sizes, *(1, sizes[2] // 2, 1)[len(sizes) - 3 :])
            return nn.Conv2d(inputs, outputs, k, stride, padding, groups=groups)
        made = {
            "norm": nn.BatchNorm2d, "relu": nn.ReLU, "max_pool": nn.MaxPool2d, "linear": nn.Linear,
            "mean": lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), "flatten": nn.Flatten,
        }  # fmt: skip
        if name not in made:
            raise ValueError(f"no layer {name}; there are: conv, {', '.join(made)}")
        return made[name](*sizes)

    return nn.Sequential(*(layer(*description) for description in layers))


def conv_norm(inputs, outputs, size, stride, groups=1):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False), nn.BatchNorm2d(outputs)
    )


def residual(inputs, outputs, stride):
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = conv_norm(inputs, outputs, 3, stride), conv_norm(outputs, outputs, 3, 1)
            same = inputs == outputs and stride == 1
            self.shortcut = nn.Identity() if same else conv_norm(inputs, outputs, 1, stride)

        def forward(self, x):
            return F.relu(self.second(F.relu(self.first(x))) + self.shortcut(x))

    return Residual()


def resnet20(_):
    widths = [(16, 16, 1), (16, 16, 1), (16, 16, 1), (16, 32, 2), (32, 32, 1), (32, 32, 1)]
    widths += [(32, 64, 2), (64, 64, 1), (64, 64, 1)]
    blocks = [residual(*width) for width in widths]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)]
    return nn.Sequential(conv_norm(3, 16, 3, 1), nn.ReLU(), *blocks, *head), [3, 32, 32]


def mobilenet(request):
    width = float(request.get("width", 1.0))
    wide = lambda channels: max(8, int(channels * width))  # noqa: E731
    pairs = [(32, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2)]
    pairs += [(512, 512, 1)] * 5 + [(512, 1024, 2), (1024, 1024, 1)]
    layers = [conv_norm(3, wide(32), 3, 2), nn.ReLU6()]
    for inputs, outputs, stride in pairs:
        layers += [conv_norm(wide(inputs), wide(inputs), 3, stride, wide(inputs)), nn.ReLU6()]
        layers += [conv_norm(wide(inputs), wide(outputs), 1, 1), nn.ReLU6()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(wide(1024), 1000)), [3, 224, 224]


NETWORKS = {"resnet20": resnet20, "mobilenet": mobilenet}


def build(request):
    """A network and the shape of one sample."""
    named = request["network"]
    if isinstance(named, list):
        return chain(named), request["size"]
    if named not in NETWORKS:
        raise ValueError(f"no network {named}; there are: {', '.join(NETWORKS)}, or a list of layers")
    model, size = NETWORKS[named](request)
    size = request.get("size", size)
    return model, size if isinstance(size, list) else [3, size, size]


def weighty(model):
    """The layers with weights: convolutions and linear layers."""
    return [layer for layer in model.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]


def measured(model, sample):
    """Parameters, those that are not zero, and multiplications of convolutions and linear layers for `sample`."""
    macs = 0

    def count(layer, _, out):
        nonlocal macs
        macs += out[0].numel() // layer.weight.shape[0] * layer.weight.numel()

    hooks = [layer.register_forward_hook(count) for layer in weighty(model)]
    model(sample)
    for hook in hooks:
        hook.remove()
    # A masked layer has `weight_orig`; the weight that counts is their product.
    masks = {name.removesuffix("_mask"): mask for name, mask in model.named_buffers() if name.endswith("_mask")}
    nonzeros = sum(
        int((value * masks.get(name.removesuffix("_orig"), 1)).count_nonzero())
        for name, value in model.named_parameters()
    )
    return {"parameters": sum(p.numel() for p in model.parameters()), "nonzeros": nonzeros, "macs": macs}


def fewer_channels(model, sample, keep, everywhere, multiple):
    """The network with at most `keep` of its parameters, and the share of channels that went."""
    need("torch_pruning")
    wanted = keep * sum(p.numel() for p in model.parameters())

    def cut(share):
        pruned = copy.deepcopy(model)
        torch_pruning.pruner.MagnitudePruner(
            pruned, sample, importance=torch_pruning.importance.MagnitudeImportance(p=2), pruning_ratio=share,
            global_pruning=everywhere, round_to=multiple, ignored_layers=[weighty(pruned)[-1]],
        ).step()  # fmt: skip
        return pruned

    if keep == 1.0:
        return model, 0.0
    low, high, best = 0.0, 1.0, None
    for _ in range(SEARCH):
        share = (low + high) / 2
        pruned = cut(share)
        if sum(p.numel() for p in pruned.parameters()) <= wanted:
            high, best = share, (pruned, share)
        else:
            low = share
    if best is None:
        raise ValueError(f"no share of channels leaves at most {keep} of the parameters")
    return best


def masked(model, keep, permanent):
    targets = [(layer, "weight") for layer in weighty(model)]
    prune.global_unstructured(targets, pruning_method=prune.L1Unstructured, amount=1.0 - keep)
    if permanent:
        for layer, name in targets:
            prune.remove(layer, name)
    return model


def network(request, _):
    torch.manual_seed(int(request.get("seed", SEED)))
    model, size = build(request)
    model.eval()
    for layer in weighty(model):
        # PyTorch's own start lets activations shrink from layer to layer, towards slow denormal numbers.
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    if request.get("input"):
        x = tensor(request["input"])
    else:
        x = torch.rand(int(request.get("batch", 1)), *size)
    sample = x[:1]
    with torch.no_grad():
        told = {"dense": measured(model, sample)}
    by, keep = request.get("prune", "none"), float(request.get("keep", 1.0))
    if not 0.0 < keep <= 1.0:
        raise ValueError(f"keep is {keep}, not in (0, 1]")
    if by == "channels":
        # Torch-Pruning finds what belongs together by following gradients: not under `no_grad`.
        everywhere, multiple = bool(request.get("global", False)), request.get("round_to")
        model, told["channels_removed"] = fewer_channels(model, sample, keep, everywhere, multiple)
    elif by == "mask":
        model = masked(model, keep, bool(request.get("permanent", True)))
    elif by != "none":
        raise ValueError(f"no pruning {by}; there are: none, channels, mask")
    with torch.no_grad():
        told |= measured(model, sample)
    return Torch(lambda: model(x), told)


KINDS = {
    "onnx": Onnx, "linear": linear, "conv": conv, "csr-torch": csr_torch, "csr-scipy": csr_scipy, "network": network,
}  # fmt: skip


# ---- rounds


class Loaded:
    """One thing, after its warm-up."""

    def __init__(self, request):
        if request["do"] not in KINDS:
            raise ValueError(f"nothing does {request['do']}; there are: {', '.join(KINDS)}")
        self.threads = int(request.get("threads", 1))
        self.set_threads()
        self.thing = KINDS[request["do"]](request, self.threads)
        self.round(3, WARM_UP)
        self.told = {"shape": list(self.thing.result(self.out).shape), **self.thing.told}

    def set_threads(self):
        if torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)

    def round(self, runs, seconds):
        """Seconds of single calls."""
        self.set_threads()
        times, total = [], 0.0
        with torch.inference_mode():
            while len(times) < runs or total < seconds:
                start = time.perf_counter()
                self.out = self.thing.step()
                times.append(time.perf_counter() - start)
                total += times[-1]
        return times


def settle(threads):
    """Waits until no other thread of this process spins."""
    for _ in range(NAPS if threads > 1 else 0):
        start = time.process_time()
        time.sleep(NAP)
        if time.process_time() - start < SPINNING * NAP:
            return


def run(loaded, request):
    times = loaded.round(int(request.get("runs", 9)), float(request.get("seconds", 0.0)))
    reply = {"seconds": statistics.median(times), "least": min(times), "runs": len(times)}
    if request.get("output"):
        # A name without .npy would get it from numpy, and the caller would look in vain.
        with open(request["output"], "wb") as file:
            np.save(file, loaded.thing.result(loaded.out))
        reply["output"] = request["output"]
    settle(loaded.threads)
    return reply


def answer(things, request):
    if "load" in request:
        things.pop(request["load"], None)
        things[request["load"]] = loaded = Loaded(request)
        settle(loaded.threads)
        return {"loaded": request["load"], **loaded.told}
    for word in ("run", "drop"):
        if word in request and request[word] not in things:
            raise ValueError(f"nothing is loaded as {request[word]}")
    if "run" in request:
        return run(things[request["run"]], request)
    if "drop" in request:
        del things[request["drop"]]
        return {"dropped": request["drop"]}
    if "do" in request:
        loaded = Loaded(request)
        return {**loaded.told, **run(loaded, request)}
    raise ValueError("a request has one of: load, run, drop, do")


# Module, package, title. PyTorch is first: without it nothing here runs.
PEERS = [
    ("torch", "torch", "PyTorch"),
    ("onnxruntime", "onnxruntime", "ONNX Runtime"),
    ("scipy", "scipy", "SciPy"),
    ("torch_pruning", "torch-pruning", "Torch-Pruning"),
]


def present():
    """Imports what is there; tells what is and what is not."""
    peers, missing = [], []
    for module, package, title in PEERS:
        try:
            globals()[module] = importlib.import_module(module)
            peers.append({"name": package, "title": title, "version": importlib.metadata.version(package)})
        except Exception as error:
            missing.append({"name": package, "why": " ".join(f"{type(error).__name__}: {error}".split())})
    if missing and missing[0]["name"] == "torch":
        sys.exit(f"compress.py: {missing[0]['why']}; see the head of this file")
    globals().update(nn=torch.nn, F=torch.nn.functional, prune=importlib.import_module("torch.nn.utils.prune"))
    if "scipy" in globals():
        importlib.import_module("scipy.sparse")
    return {"peers": peers, "missing": missing}


def main():
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    # From here on descriptor 1 is stderr: libraries print there, and the protocol must stay clean.
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    greeting = present()
    torch.set_num_interop_threads(1)
    print(json.dumps(greeting), file=replies)
    things = {}
    for line in sys.stdin:
        try:
            reply = answer(things, json.loads(line))
        except Exception as error:
            reply = {"error": " ".join(f"{type(error).__name__}: {error}".split())}
        print(json.dumps(reply), file=replies)


if __name__ == "__main__":
    main()
