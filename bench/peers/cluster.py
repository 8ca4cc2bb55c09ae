"""scikit-learn's spectral clustering, beside Tersor's of the same graph.

    python3 -m venv peers && peers/bin/pip install scikit-learn==1.9.1 scipy==1.17.1     # outside the repository

    OMP_NUM_THREADS=2 peers/bin/python bench/peers/cluster.py GRAPH... --clusters K [--rounds N] [--labels-to FOLDER]

A graph is its affinity: Matrix Market (`.mtx`) or an edge list (`u v [weight]`, ids from 0 or as `# vertices 12
first_id 1` says), either also as `.gz`. Each edge is there once or in both directions, loops are left out, and a
missing weight is 1; `tersor graph convert` makes such files of others. For each graph one line of JSON is printed:

    {"graph", "vertices", "edges", "clusters", "seconds", "rounds", "ncut", "labels", "threads", "version"}

`seconds` is the median over the rounds of `fit` alone, after the affinity was built. `labels` is the file of the
labels, one a line, by vertex. `ncut` is the sum of cut/volume over the clusters. A vertex without an edge is in no
cluster: scikit-learn gives it a label all the same, and it changes no cut and no volume.

scikit-learn factors the shifted Laplacian (ARPACK in shift-and-invert mode), which takes minutes and gigabytes where
the factor fills up: sparse random graphs of some 20,000 vertices.
"""

import argparse
import gzip
import io
import json
import pathlib
import statistics
import sys
import tempfile
import time
import warnings

import numpy as np
import scipy.io
import scipy.sparse
import sklearn
import threadpoolctl
from sklearn.cluster import SpectralClustering


def text_of(path):
    with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
        return file.read()


def read_edge_list(text):
    """Ends, weights, and how many vertices there are."""
    vertices, first = 0, 0
    for line in text.splitlines():
        words = line.split()
        if len(words) == 5 and words[0] == b"#" and words[1] == b"vertices" and words[3] == b"first_id":
            vertices, first = int(words[2]), int(words[4])
        if words and not words[0].startswith((b"#", b"%")):
            break
    table = np.loadtxt(io.BytesIO(text), comments=["#", "%"], ndmin=2)
    ends = table[:, :2].astype(np.int64).T - first
    weights = table[:, 2] if table.shape[1] > 2 else np.ones(len(table))
    return ends, weights, max(vertices, ends.max() + 1)


def read(path):
    """The affinity as a symmetric matrix without diagonal."""
    text = text_of(path)
    if ".mtx" in path.suffixes:
        matrix = scipy.sparse.coo_matrix(scipy.io.mmread(io.BytesIO(text)))
        ends, weights, vertices = np.array([matrix.row, matrix.col]), matrix.data.astype(float), matrix.shape[0]
    else:
        ends, weights, vertices = read_edge_list(text)
    edge = ends[0] != ends[1]
    pairs, at = np.unique(np.sort(ends[:, edge], axis=0), axis=1, return_index=True)
    # An edge in both directions is one edge; scikit-learn's ARPACK wants 32-bit indices.
    u, v = pairs.astype(np.int32)
    weights = weights[edge][at]
    ends = np.concatenate([u, v]), np.concatenate([v, u])
    return scipy.sparse.csr_matrix((np.concatenate([weights, weights]), ends), (vertices, vertices))


def ncut(affinity, labels):
    """The sum of cut/volume over the clusters that have a volume."""
    member = scipy.sparse.csr_matrix((np.ones(len(labels)), (labels, np.arange(len(labels)))))
    between = (member @ affinity @ member.T).toarray()
    volume = between.sum(axis=1)
    return sum(1 - inside / all_of_it for inside, all_of_it in zip(between.diagonal(), volume) if all_of_it > 0)


def cluster(options, path):
    affinity = read(path)
    seconds = []
    for _ in range(options.rounds):
        model = SpectralClustering(
            options.clusters, affinity="precomputed", assign_labels="kmeans", n_init=10, random_state=0
        )
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of graphs in several parts
            labels = model.fit(affinity).labels_
        seconds.append(time.perf_counter() - start)
    out = options.labels_to / f"{path.name.split('.')[0]}.{options.clusters}.labels"
    np.savetxt(out, labels, fmt="%d")
    return {
        "graph": path.name.split(".")[0],
        "vertices": affinity.shape[0],
        "edges": affinity.nnz // 2,
        "clusters": options.clusters,
        "seconds": round(statistics.median(seconds), 4),
        "rounds": options.rounds,
        "ncut": round(float(ncut(affinity, labels)), 6),
        "labels": str(out),
        "threads": max(pool["num_threads"] for pool in threadpoolctl.threadpool_info()),
        "version": sklearn.__version__,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("graphs", nargs="+", type=pathlib.Path)
    parser.add_argument("--clusters", type=int, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--labels-to", type=pathlib.Path, default=pathlib.Path(tempfile.gettempdir()))
    options = parser.parse_args()
    if options.rounds < 1:
        sys.exit("--rounds: at least 1")
    for path in options.graphs:
        print(json.dumps(cluster(options, path)), flush=True)


if __name__ == "__main__":
    main()
