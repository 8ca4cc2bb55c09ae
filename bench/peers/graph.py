"""NetworkX's spanner of an undirected graph, beside Tersor's of the same graph with every edge as two arcs.

    python3 -m venv peers && peers/bin/pip install networkx==3.6.1     # outside the repository
    cargo build --release

    peers/bin/python bench/peers/graph.py spanner GRAPH.graph[.gz] --stretch T [--seed S] --out H.gr
    peers/bin/python bench/peers/graph.py compare GRAPH.graph[.gz]... [--stretch T...] [--all]
    peers/bin/python bench/peers/graph.py refuses

`spanner` writes H as DIMACS, each edge as two arcs, so that `tersor graph verify GRAPH H` measures it, and prints one
line of JSON. GRAPH is METIS without lengths: each edge has length 1. `compare` makes NetworkX's spanner for each T,
measures it with `tersor graph verify` from 100 sources, and asks `tersor graph spanner` for the stretch that was
measured, but for at least 4, which is the least that it certifies: certified, and calibrated and pruned. A ratio of
arcs is given where our measured maximum is no larger than NetworkX's. `refuses` shows what NetworkX does with a
directed graph.

NetworkX keeps its promise for all pairs of vertices, Tersor for the pairs of its sources: those 100, or with `--all`
every vertex (certified only).

`nx.spanner(G, t)` without `weight=` orders edges by where their ends lie in memory (networkx issue 4527), so here every
edge has an explicit length. Edges of equal length are still ordered so: the same seed gives a few edges more or less in
the next run.
"""

import argparse
import gzip
import json
import pathlib
import subprocess
import sys
import tempfile
import time

LENGTH = "length"
LEAST = 4  # the least stretch that Tersor certifies
MEASURED = 100  # sources whose pairs are measured


def read_metis(path):
    """An undirected graph from a METIS file without lengths."""
    import networkx as nx

    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt") as file:
        lines = [line.split() for line in file if not line.startswith("%")]
    vertices, edges, *flags = lines[0]
    if flags and int(flags[0]):
        sys.exit(f"{path}: lengths and weights are not read here")
    graph = nx.Graph()
    graph.add_nodes_from(range(1, int(vertices) + 1))
    for vertex, neighbours in zip(graph, lines[1:]):
        graph.add_edges_from((vertex, int(other)) for other in neighbours)
    if graph.number_of_edges() != int(edges):
        sys.exit(f"{path}: {graph.number_of_edges()} edges, its header says {edges}")
    nx.set_edge_attributes(graph, 1, LENGTH)
    return graph


def write_dimacs(graph, path):
    """Each edge as two arcs; ids from 1, as read."""
    with open(path, "w") as file:
        file.write(f"p sp {graph.number_of_nodes()} {2 * graph.number_of_edges()}\n")
        for u, v in graph.edges:
            file.write(f"a {u} {v} 1\na {v} {u} 1\n")


def spanner(graph, stretch, seed, out):
    """NetworkX's spanner, written, and what it took."""
    import networkx as nx

    start = time.perf_counter()
    thinned = nx.spanner(graph, stretch, weight=LENGTH, seed=seed)
    seconds = time.perf_counter() - start
    write_dimacs(thinned, out)
    edges = {"edges": thinned.number_of_edges(), "graph_edges": graph.number_of_edges()}
    return {**edges, "stretch": stretch, "seconds": round(seconds, 3), "version": nx.__version__}


def tersor(binary, *arguments):
    """What a verb of `tersor graph` prints as JSON."""
    done = subprocess.run([binary, "graph", *map(str, arguments), "--json", "--quiet"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"tersor graph {' '.join(map(str, arguments))}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def compared(options, path, folder):
    """A row for each stretch: NetworkX's arcs, and Tersor's at the same measured stretch."""
    graph = read_metis(path)
    measuring = ("--sample", MEASURED, "--seed", options.seed)
    sources = ("--sample", graph.number_of_nodes() if options.all else MEASURED, "--seed", options.seed)
    methods = [("certified", []), ("calibrated", ["--calibrate", "--prune"])]
    for stretch in options.stretch:
        out = folder / "networkx.gr"
        peer = spanner(graph, stretch, options.seed, out)
        theirs = tersor(options.tersor, "verify", path, out, *measuring)
        row = {"graph": path.name.split(".")[0], **peer, "arcs": 2 * peer["edges"], **judged(theirs)}
        for name, flags in methods[:1] if options.all else methods:
            ours = folder / "tersor.gr"
            asked = ("--stretch", max(theirs["max"], LEAST))
            made = tersor(options.tersor, "spanner", path, *sources, *asked, *flags, "--out", ours)
            found = tersor(options.tersor, "verify", path, ours, *measuring, *asked)  # a violation ends here
            row[name] = {"arcs": made["arcs"], "seconds": round(made["seconds"], 2), **judged(found)}
            if found["max"] <= theirs["max"]:
                row[name]["ratio"] = round(made["arcs"] / row["arcs"], 3)
        yield row


def judged(measured):
    """What `verify` found, of the pairs of all sources."""
    return {"max": round(measured["max"], 3), "mean": round(measured["mean"], 3)}


def compare(options):
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for path in options.graphs:
            for row in compared(options, path, pathlib.Path(folder)):
                print(json.dumps(row), file=sys.stderr, flush=True)
                rows.append(row)
    heads = ["graph", "t", "NetworkX", "certified", "calibrated, pruned"][: 4 if options.all else 5]
    print("| " + " | ".join(heads) + " |\n" + "| --- " * len(heads) + "|")
    for row in rows:
        cells = [cell(row[name]) for name in ("certified", "calibrated") if name in row]
        print("| " + " | ".join([row["graph"], f"{row['stretch']:g}", cell(row), *cells]) + " |")


def cell(found):
    """Arcs, how many of NetworkX's that is at no larger a measured stretch, the stretch, the time."""
    ratio = f" ({found['ratio']:.2f}x)" if "ratio" in found else ""
    return f"{found['arcs']:,}{ratio}; {found['max']:g}, {found['mean']:g}; {found['seconds']:.2g} s"


def refuses(_):
    """A one-way street, and what NetworkX says."""
    import networkx as nx

    street = nx.DiGraph()
    street.add_edge("depot", "shop", length=1)
    try:
        nx.spanner(street, 3, weight=LENGTH)
    except nx.NetworkXNotImplemented as refusal:
        print(f"networkx {nx.__version__}: {type(refusal).__name__}: {refusal}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    verbs = parser.add_subparsers(required=True)
    one = verbs.add_parser("spanner")
    one.add_argument("graph", type=pathlib.Path)
    one.add_argument("--stretch", type=float, required=True)
    one.add_argument("--out", type=pathlib.Path, required=True)
    one.set_defaults(run=lambda o: print(json.dumps(spanner(read_metis(o.graph), o.stretch, o.seed, o.out))))
    both = verbs.add_parser("compare")
    both.add_argument("graphs", nargs="+", type=pathlib.Path)
    both.add_argument("--stretch", nargs="+", type=float, default=[7, 11, 15, 23])
    both.add_argument("--all", action="store_true")
    both.add_argument("--tersor", default="target/release/tersor")
    both.set_defaults(run=compare)
    for verb in one, both:
        verb.add_argument("--seed", type=int, default=1)
    verbs.add_parser("refuses").set_defaults(run=refuses)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
