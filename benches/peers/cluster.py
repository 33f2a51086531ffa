"""How fast scikit-learn clusters the points of benches/training.rs, and how tightly.

    pip install scikit-learn
    BENCH_POINTS=points cargo bench --bench training
    OMP_NUM_THREADS=1 python benches/peers/cluster.py points CLUSTERS     # or `make bench-train`, for both
"""

import sys
import time

import numpy as np
from sklearn.cluster import KMeans, MiniBatchKMeans

DIMENSIONS = 64


def measure(points, n_clusters, kind, **settings):
    for seed in range(3):
        began = time.perf_counter()
        fit = kind(n_clusters, random_state=seed, n_init=1, **settings).fit(points)
        took = time.perf_counter() - began
        print(f"{kind.__name__}: {n_clusters} clusters in {took * 1e3:.1f} ms, inertia {fit.inertia_:.0f}")


points = np.fromfile(sys.argv[1], dtype="<f4").reshape(-1, DIMENSIONS)
measure(points, int(sys.argv[2]), MiniBatchKMeans)
measure(points, int(sys.argv[2]), KMeans)
