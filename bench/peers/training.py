"""The PyTorch peer of `tersor train bench`, and the recipes that both sides train.

A fair comparison on a noisy machine runs both peers in turn, round by round, in one sitting. So this is a server: the
command asks for a short round, this program runs it and answers, one line of JSON each.

    python3 -m venv peers
    peers/bin/pip install numpy pillow torch==2.15.0
    peers/bin/python bench/peers/training.py --threads 2

    first line   {"peers": [{"name", "title", "version"}], "probes": {"cnn": {"parameters", "items"}...}}
    request      {"probe": "cnn", "mode": "train" | "infer", "seconds": 0.5}
    answer       {"steps": 31, "seconds": 0.51, "median": 0.0161}  or  {"error": "one line"}
    request      {"op": "conv2d", "shape": {"n": 32, "cin": 3, ...}, "mode": "forward" | "backward", "seconds": 0.2}
    answer       as above; for "backward" also "forward": the median of the forward part of the same steps

Times are in seconds; `median` is that of single steps. A step of "train" is zero_grad(set_to_none), forward, loss,
backward and the optimiser's step; of "infer" the forward pass in eval mode under inference_mode. Each probe, operator
and mode is warmed up before its first measurement. Inputs are drawn once, from a fixed seed; values are f32. Tensors
have PyTorch's default layout, the optimisers their default implementation; `--fused` takes the fused ones instead.

Probes (all without dropout; PyTorch's default initialisation; the loss is the mean cross entropy):

    cnn          545,098 parameters. 32 x 3x32x32. conv 3x3 3->32 pad 1, ReLU, max pool 2, conv 3x3 32->64 pad 1, ReLU,
                 max pool 2, flatten, linear 4096->128 (that is 64x8x8), ReLU, linear 128->10.
                 SGD lr 0.01, momentum 0.9.
    resnet20     272,474 (2,752 of them in the shortcuts). 32 x 3x32x32. conv 3x3 3->16, norm, ReLU; three stages of
                 three blocks of width 16, 32, 64, the first block of the later stages with stride 2: conv 3x3, norm,
                 ReLU, conv 3x3, norm, plus shortcut, ReLU. Where the shape changes the shortcut is a strided conv
                 1x1 and a norm. Mean over positions, linear 64->10. Norm: group norm, 8 groups; convolutions have
                 no bias. SGD lr 0.1, momentum 0.9, weight decay 1e-4.
    lstm         420,289. 32 sequences of 64, vocabulary 65. Embedding 128, LSTM 128->256 (with PyTorch's two biases
                 for each gate), linear 256->65 at every position. Adam lr 1e-3.
    transformer  3,258,433. 8 sequences of 256, vocabulary 65. Token plus learned position embedding, width 256;
                 4 blocks: x + projection(causal attention, 8 heads, of qkv(norm(x)), one linear 256->768),
                 x + linear 1024->256 (GELU (exact) of linear 256->1024 of norm(x)); layer norm, linear 256->65.
                 Every linear has a bias. AdamW lr 3e-4, weight decay 0.01.

Operators and their shapes (gradients are taken with respect to every input and weight; `"input": false` spares that of
the first input, as in a network's first layer):

    conv2d                       n cin h w cout k, stride 1, padding 0, groups 1, bias true
    conv1d                       n cin w cout k, stride 1, padding 0, groups 1, bias true
    depthwise                    n c h w k, stride 1, padding 0, bias true
    max_pool2d, avg_pool2d       n c h w k, stride k
    relu, gelu, silu, sigmoid, tanh   [any, shape]
    softmax, log_softmax         [any, shape], over the last axis
    cross_entropy                rows classes
    layer_norm                   rows width
    group_norm                   n c h w groups
    batch_norm                   n c h w, with the statistics of the batch
    scaled_dot_product_attention n heads t d, causal true
    linear                       rows in out, bias true
    embedding                    rows vocabulary width
    lstm                         n t in hidden
    adamw, sgd                   n; one step over n values that lie in one tensor, whatever the mode
                                 (sgd: momentum 0.9, weight decay 1e-4)

Recipes train a network to its end and print its accuracy on the test pictures:

    training.py recipe lenet5   --data DIR --epochs 10 --seeds 1,2,3    DIR holds Fashion-MNIST's four .gz files
    training.py recipe resnet20 --data cifar10_jpg_1000.zip --epochs 60 --seeds 1,2,3

    lenet5       61,706 parameters. conv 5x5 1->6 pad 2, ReLU, max pool 2, conv 5x5 6->16, ReLU, max pool 2, flatten,
                 linear 400->120, ReLU, 120->84, ReLU, 84->10. Batch 64, AdamW lr 2e-3, weight decay 1e-2 on every
                 parameter. Pixels minus the training set's mean over its standard deviation, random horizontal flip.
    resnet20     the probe's network on pictures `class/name.jpg` in a zip: each class is sorted by file name, every
                 fifth picture (the 5th, 10th...) is a test picture. Pixels normalised for each channel by the training
                 pictures' mean and standard deviation, padded by 4 of black, random crop 32x32, random horizontal flip.
                 Batch 64, SGD lr 0.02, momentum 0.9, weight decay 5e-4 on every parameter.

Accuracy with PyTorch 2.15 is in crates/train/README.md, beside ours; at lr 0.1 resnet20 learns nothing in the first five
epochs of so few pictures.

Both: the rate falls from lr to 0 by a cosine over all steps (step s of S has the rate lr (1 + cos(pi s / S)) / 2);
each epoch is a new permutation; the last, smaller batch counts.
"""

import argparse
import gzip
import importlib.metadata
import io
import json
import math
import os
import statistics
import struct
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

WARM_UP = 0.3  # seconds, once per probe or operator and mode; at least three steps
SEED = 20


# ---- networks


def cnn():
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * 8 * 8, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip


def lenet5():
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def conv_norm(inputs, outputs, size, stride):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False), nn.GroupNorm(8, outputs)
    )


class Residual(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.first = conv_norm(inputs, outputs, 3, stride)
        self.second = conv_norm(outputs, outputs, 3, 1)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else conv_norm(inputs, outputs, 1, stride)

    def forward(self, x):
        return F.relu(self.second(F.relu(self.first(x))) + self.shortcut(x))


class ResNet20(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = conv_norm(3, 16, 3, 1)
        widths = [(16, 16, 1), (16, 16, 1), (16, 16, 1), (16, 32, 2), (32, 32, 1), (32, 32, 1)]
        widths += [(32, 64, 2), (64, 64, 1), (64, 64, 1)]
        self.blocks = nn.Sequential(*(Residual(*width) for width in widths))
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        return self.head(self.blocks(F.relu(self.stem(x))).mean((2, 3)))


class CharLstm(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(65, 128)
        self.lstm = nn.LSTM(128, 256, batch_first=True)
        self.head = nn.Linear(256, 65)

    def forward(self, tokens):
        return self.head(self.lstm(self.embedding(tokens))[0])


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.projection = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        n, t, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(n, t, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.projection(mixed.transpose(1, 2).reshape(n, t, width))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Transformer(nn.Module):
    def __init__(self, width=256, heads=8, blocks=4, context=256, vocabulary=65):
        super().__init__()
        self.token, self.position = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(blocks)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary)

    def forward(self, tokens):
        x = self.token(tokens) + self.position.weight[: tokens.shape[1]]
        return self.head(self.norm(self.blocks(x)))


def pictures(generator):
    return torch.randn(32, 3, 32, 32, generator=generator), torch.randint(10, (32,), generator=generator)


def characters(n, t):
    return lambda g: (torch.randint(65, (n, t), generator=g), torch.randint(65, (n * t,), generator=g))


# name: network, batch, optimiser
PROBES = {
    "cnn": (cnn, pictures, lambda p, o: torch.optim.SGD(p, 0.01, momentum=0.9, **o)),
    "resnet20": (ResNet20, pictures, lambda p, o: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=1e-4, **o)),
    "lstm": (CharLstm, characters(32, 64), lambda p, o: torch.optim.Adam(p, 1e-3, **o)),
    "transformer": (Transformer, characters(8, 256), lambda p, o: torch.optim.AdamW(p, 3e-4, weight_decay=0.01, **o)),
}


def parameters(model):
    return sum(p.numel() for p in model.parameters())


# ---- rounds


class Probe:
    """A network with its batch and optimiser."""

    def __init__(self, name, options):
        network, batch, optimiser = PROBES[name]
        torch.manual_seed(SEED)
        self.model = network()
        self.inputs, self.targets = batch(torch.Generator().manual_seed(SEED))
        self.optimiser = optimiser(self.model.parameters(), options)

    def step(self, mode):
        if mode == "train":
            self.model.train()
            return self.train
        if mode == "infer":
            self.model.eval()
            return self.infer
        raise ValueError(f"no mode {mode} of a probe; there are: train, infer")

    def train(self):
        self.optimiser.zero_grad(set_to_none=True)
        logits = self.model(self.inputs)
        loss = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), self.targets)
        loss.backward()
        self.optimiser.step()

    def infer(self):
        with torch.inference_mode():
            self.model(self.inputs)


class Sizes:
    """Named sizes of a request; what it leaves out has a default or is an error that names it."""

    def __init__(self, op, sizes):
        self.op, self.sizes = op, sizes

    def __call__(self, names):
        missing = [name for name in names.split() if name not in self.sizes]
        if missing:
            raise ValueError(f"{self.op}: the shape lacks {', '.join(missing)}")
        return [self.sizes[name] for name in names.split()]

    def get(self, name, default):
        return self.sizes.get(name, default)

    def dims(self):
        if not isinstance(self.sizes, list):
            raise ValueError(f"{self.op}: the shape is a list of sizes")
        return self.sizes


def operator(op, shape, options):
    """Tensors (the first is the input) and the function over them; an optimiser has no tensors, only a step."""
    generator = torch.Generator().manual_seed(SEED)
    s = Sizes(op, shape)

    def draw(*dims):
        return torch.randn(*dims, generator=generator)

    def conv(x, weight, function, groups):
        tensors = [x, weight] + ([draw(weight.shape[0])] if s.get("bias", True) else [])
        arguments = {"stride": s.get("stride", 1), "padding": s.get("padding", 0), "groups": groups}
        return tensors, lambda x, w, b=None: function(x, w, b, **arguments)

    if op == "conv2d":
        n, cin, h, w, cout, k = s("n cin h w cout k")
        groups = s.get("groups", 1)
        return conv(draw(n, cin, h, w), draw(cout, cin // groups, k, k), F.conv2d, groups)
    if op == "depthwise":
        n, c, h, w, k = s("n c h w k")
        return conv(draw(n, c, h, w), draw(c, 1, k, k), F.conv2d, c)
    if op == "conv1d":
        n, cin, w, cout, k = s("n cin w cout k")
        groups = s.get("groups", 1)
        return conv(draw(n, cin, w), draw(cout, cin // groups, k), F.conv1d, groups)
    if op in ("max_pool2d", "avg_pool2d"):
        n, c, h, w, k = s("n c h w k")
        function, stride = getattr(F, op), s.get("stride", k)
        return [draw(n, c, h, w)], lambda x: function(x, k, stride)
    if op in ("relu", "gelu", "silu"):
        return [draw(*s.dims())], getattr(F, op)
    if op in ("sigmoid", "tanh"):
        return [draw(*s.dims())], getattr(torch, op)
    if op in ("softmax", "log_softmax"):
        function = getattr(F, op)
        return [draw(*s.dims())], lambda x: function(x, -1)
    if op == "cross_entropy":
        rows, classes = s("rows classes")
        targets = torch.randint(classes, (rows,), generator=generator)
        return [draw(rows, classes)], lambda x: F.cross_entropy(x, targets)
    if op == "layer_norm":
        rows, width = s("rows width")
        return [draw(rows, width), draw(width), draw(width)], lambda x, g, b: F.layer_norm(x, (width,), g, b)
    if op == "group_norm":
        n, c, h, w, groups = s("n c h w groups")
        return [draw(n, c, h, w), draw(c), draw(c)], lambda x, g, b: F.group_norm(x, groups, g, b)
    if op == "batch_norm":
        n, c, h, w = s("n c h w")
        mean, variance = torch.zeros(c), torch.ones(c)
        tensors = [draw(n, c, h, w), draw(c), draw(c)]
        return tensors, lambda x, g, b: F.batch_norm(x, mean, variance, g, b, training=True)
    if op == "scaled_dot_product_attention":
        n, heads, t, d = s("n heads t d")
        causal = s.get("causal", True)
        tensors = [draw(n, heads, t, d) for _ in range(3)]
        return tensors, lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    if op == "linear":
        rows, inputs, outputs = s("rows in out")
        return [draw(rows, inputs), draw(outputs, inputs)] + ([draw(outputs)] if s.get("bias", True) else []), F.linear
    if op == "embedding":
        rows, vocabulary, width = s("rows vocabulary width")
        tokens = torch.randint(vocabulary, (rows,), generator=generator)
        return [draw(vocabulary, width)], lambda table: F.embedding(tokens, table)
    if op == "lstm":
        n, t, inputs, hidden = s("n t in hidden")
        lstm = nn.LSTM(inputs, hidden, batch_first=True)
        return [draw(n, t, inputs), *lstm.parameters()], lambda x, *_: lstm(x)[0]
    if op in ("adamw", "sgd"):
        (n,) = s("n")
        values = nn.Parameter(draw(n))
        values.grad = draw(n)
        if op == "adamw":
            return None, torch.optim.AdamW([values], 3e-4, weight_decay=0.01, **options).step
        return None, torch.optim.SGD([values], 0.1, momentum=0.9, weight_decay=1e-4, **options).step
    raise ValueError(f"no operator {op}; the head of this file lists them")


class Operator:
    def __init__(self, request, options):
        self.tensors, self.function = operator(request["op"], request["shape"], options)
        first = bool(request.get("input", True))
        self.wanted = []
        for index, tensor in enumerate(self.tensors or []):
            tensor.requires_grad_(index > 0 or first)
            self.wanted += [tensor] if tensor.requires_grad else []
        self.upstream = None
        if self.wanted:
            with torch.no_grad():
                self.upstream = torch.ones_like(self.function(*self.tensors))

    def step(self, mode):
        if self.tensors is None:
            return self.function
        if mode == "forward":
            return self.forward
        if mode == "backward" and self.wanted:
            return self.backward
        raise ValueError(f"no mode {mode} of this operator; there are: forward, and backward where it has gradients")

    def forward(self):
        with torch.no_grad():
            self.function(*self.tensors)

    def backward(self):
        """Forward and backward; gives the seconds of the forward part."""
        start = time.perf_counter()
        out = self.function(*self.tensors)
        took = time.perf_counter() - start
        torch.autograd.grad(out, self.wanted, self.upstream)
        return took


def timed(step, seconds, least=1):
    """Steps for about `seconds`, each timed."""
    steps, parts, total = [], [], 0.0
    while len(steps) < least or total < seconds:
        start = time.perf_counter()
        part = step()
        took = time.perf_counter() - start
        steps.append(took)
        parts += [part] if isinstance(part, float) else []
        total += took
    reply = {"steps": len(steps), "seconds": total, "median": statistics.median(steps)}
    return {**reply, "forward": statistics.median(parts)} if parts else reply


def answer(loaded, warm, request, options):
    mode = request["mode"]
    if "probe" in request:
        if request["probe"] not in PROBES:
            raise ValueError(f"no probe {request['probe']}; there are: {', '.join(PROBES)}")
        key = request["probe"]
        build = lambda: Probe(key, options)  # noqa: E731
    else:
        key = json.dumps([request["op"], request["shape"], request.get("input", True)], sort_keys=True)
        build = lambda: Operator(request, options)  # noqa: E731
    if key not in loaded:
        loaded[key] = build()
    step = loaded[key].step(mode)
    if (key, mode) not in warm:
        timed(step, WARM_UP, least=3)
        warm.add((key, mode))
    return timed(step, float(request["seconds"]))


def serve(threads, fused):
    # From here on descriptor 1 is stderr: libraries print there, and the protocol must stay clean.
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)
    options = {"fused": True} if fused else {}
    peer = {"name": "pytorch", "title": "PyTorch", "version": importlib.metadata.version("torch")}
    probes = {}
    for name, (network, batch, _) in PROBES.items():
        targets = batch(torch.Generator().manual_seed(SEED))[1]
        probes[name] = {"parameters": parameters(network()), "items": targets.numel()}
    print(json.dumps({"peers": [peer], "probes": probes}), file=replies)
    loaded, warm = {}, set()
    for line in sys.stdin:
        try:
            reply = answer(loaded, warm, json.loads(line), options)
        except Exception as error:
            reply = {"error": " ".join(f"{type(error).__name__}: {error}".split())}
        print(json.dumps(reply), file=replies)


# ---- recipes


def idx(path):
    with gzip.open(path) as file:
        content = file.read()
    magic = content[:4]
    if magic[:3] != b"\0\0\x08":
        raise ValueError(f"{path}: not an IDX file of bytes")
    dims = struct.unpack(f">{magic[3]}I", content[4 : 4 + 4 * magic[3]])
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=4 + 4 * magic[3]).reshape(dims).copy())


def fashion(folder):
    """Train and test: pictures [n, 1, 28, 28] as bytes, labels [n]."""
    folder = Path(folder)
    parts = []
    for part in ("train", "t10k"):
        images, labels = idx(folder / f"{part}-images-idx3-ubyte.gz"), idx(folder / f"{part}-labels-idx1-ubyte.gz")
        parts.append((images[:, None], labels.long()))
    return parts


def every_fifth(path):
    """Train and test of a zip of `class/name.jpg`: of each class, sorted by name, every fifth is a test picture."""
    from PIL import Image

    with zipfile.ZipFile(path) as file:
        classes = {}
        for name in sorted(name for name in file.namelist() if name.endswith(".jpg")):
            classes.setdefault(name.split("/")[0], []).append(name)
        parts = ([], []), ([], [])
        for label, (_, names) in enumerate(sorted(classes.items())):
            for index, name in enumerate(names):
                images, labels = parts[index % 5 == 4]
                images.append(np.array(Image.open(io.BytesIO(file.read(name))).convert("RGB")).transpose(2, 0, 1))
                labels.append(label)
    return [(torch.from_numpy(np.stack(images)), torch.tensor(labels)) for images, labels in parts]


def flipped(x, black):
    return torch.where((torch.rand(len(x)) < 0.5)[:, None, None, None], x.flip(3), x)


def cropped(x, pad, black):
    n, _, h, w = x.shape
    padded = F.pad(x - black, (pad, pad, pad, pad)) + black
    top, left = torch.randint(2 * pad + 1, (n,)), torch.randint(2 * pad + 1, (n,))
    return torch.stack([padded[i, :, top[i] : top[i] + h, left[i] : left[i] + w] for i in range(n)])


# name: network, reader, optimiser, augmentation
RECIPES = {
    "lenet5": (lenet5, fashion, lambda p, lr: torch.optim.AdamW(p, lr or 2e-3, weight_decay=1e-2), flipped),
    "resnet20": (
        ResNet20,
        every_fifth,
        lambda p, lr: torch.optim.SGD(p, lr or 0.02, momentum=0.9, weight_decay=5e-4),
        lambda x, black: flipped(cropped(x, 4, black), black),
    ),
}


def accuracy(model, x, labels):
    model.eval()
    with torch.inference_mode():
        right = sum((model(a).argmax(1) == b).sum().item() for a, b in zip(x.split(500), labels.split(500)))
    return right / len(labels)


def train(recipe, parts, black, epochs, batch, seed, rate):
    """Test accuracy and seconds of training after each epoch."""
    network, _, optimiser, augmented = recipe
    (x, labels), (test, test_labels) = parts
    torch.manual_seed(seed)
    model = network()
    optimiser = optimiser(model.parameters(), rate)
    (group,) = optimiser.param_groups
    full, step, steps = group["lr"], 0, epochs * math.ceil(len(x) / batch)
    curve, seconds = [], []
    for _ in range(epochs):
        start = time.perf_counter()
        model.train()
        for rows in torch.randperm(len(x)).split(batch):
            group["lr"] = full * (1 + math.cos(math.pi * step / steps)) / 2
            optimiser.zero_grad(set_to_none=True)
            F.cross_entropy(model(augmented(x[rows], black)), labels[rows]).backward()
            optimiser.step()
            step += 1
        seconds.append(time.perf_counter() - start)
        curve.append(accuracy(model, test, test_labels))
    return {"seed": seed, "accuracy": curve[-1], "curve": curve, "epoch_seconds": statistics.median(seconds)}


def run_recipe(options):
    recipe = RECIPES[options.name]
    torch.set_num_threads(options.threads)
    parts = recipe[1](options.data)
    pixels = parts[0][0].float() / 255
    mean, deviation = pixels.mean((0, 2, 3), keepdim=True), pixels.std((0, 2, 3), keepdim=True, correction=0)
    parts = [((x.float() / 255 - mean) / deviation, labels) for x, labels in parts]
    report = {
        "recipe": options.name, "version": importlib.metadata.version("torch"), "threads": options.threads,
        "epochs": options.epochs, "train": len(parts[0][0]), "test": len(parts[1][0]),
        "parameters": parameters(recipe[0]()),
        "mean": mean.flatten().tolist(), "deviation": deviation.flatten().tolist(), "seeds": [],
    }  # fmt: skip
    for seed in map(int, options.seeds.split(",")):
        report["seeds"].append(train(recipe, parts, -mean / deviation, options.epochs, options.batch, seed, options.rate))
        if not options.json:
            last = report["seeds"][-1]
            some = [e for e in (1, 5, 10, 15, 20, 30, 40, 60, 80, 100) if e < options.epochs] + [options.epochs]
            print(f"seed {seed}: " + ", ".join(f"{last['curve'][e - 1]:.4f} after {e}" for e in some), end="")
            print(f"; {last['epoch_seconds']:.2f} s an epoch", flush=True)
    if options.json:
        print(json.dumps(report))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch")
    parser.add_argument("--fused", action="store_true", help="fused optimisers instead of PyTorch's default")
    verbs = parser.add_subparsers(dest="verb")
    recipe = verbs.add_parser("recipe", help="train a network to its end")
    recipe.add_argument("name", choices=RECIPES)
    recipe.add_argument("--data", required=True, help="folder of Fashion-MNIST, or zip of pictures")
    recipe.add_argument("--epochs", type=int, required=True)
    recipe.add_argument("--seeds", default="1,2,3")
    recipe.add_argument("--batch", type=int, default=64)
    recipe.add_argument("--rate", type=float, help="learning rate instead of the recipe's")
    recipe.add_argument("--threads", type=int, default=argparse.SUPPRESS, help="threads of PyTorch")
    recipe.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.verb == "recipe":
        run_recipe(options)
    else:
        serve(options.threads, options.fused)


if __name__ == "__main__":
    main()
