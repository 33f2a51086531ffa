//! Clusters within one label, by linfa's k-means (Lloyd 1982; begun by Arthur & Vassilvitskii 2007) with a distance
//! that vectorises.
//!
//! The cost is bounded: centres are fitted on at most 2,000 points in at most 10 passes, and the
//! other points are only assigned.

use linfa::DatasetBase;
use linfa::traits::Fit;
use linfa_clustering::{KMeans, KMeansInit};
use linfa_nn::distance::Distance;
use ndarray::{Array2, ArrayView, Axis, Dimension};
use pulp::Arch;
use rand::Rng;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::space::Points;

/// The most points that centres are fitted on.
const MAX_FITTED: usize = 2_000;
/// The most passes over them.
const MAX_PASSES: u64 = 10;
/// Centres that move less than this in a pass have settled.
const TOLERANCE: f32 = 1e-3;
/// Fewer points than this make one cluster.
const MIN_DIVIDED: usize = 4;
/// A cluster of less than this share of the mean size is none: a centre that fell on an outlier
/// must not make it look like the middle of something.
const MIN_SHARE: f64 = 0.125;

/// Which cluster a point fell into.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Member {
    /// The cluster, from 0.
    pub cluster: u32,
    /// Euclidean distance to its centre.
    pub distance: f32,
}

/// Clusters the points at `rows`, √(n/2) clusters but 2 to 64, or fewer where some would be nearly
/// empty; answers for each row, and how many clusters there are.
pub fn cluster(points: &Points, rows: &[usize], draws: &Xoshiro256PlusPlus) -> (Vec<Member>, u32) {
    let fitted = &rows[..rows.len().min(MAX_FITTED)];
    let wanted = (((rows.len() / 2) as f64).sqrt() as usize).clamp(2, 64);
    let n_clusters = if rows.len() < MIN_DIVIDED { 1 } else { wanted };
    let numbers: Vec<f32> = fitted.iter().flat_map(|&row| points.get(row)).copied().collect();
    let fitted = Array2::from_shape_vec((fitted.len(), points.dimensions), numbers)
        .expect("as many numbers as rows times dimensions");
    let begin = KMeansInit::Precomputed(spread(&fitted, n_clusters, &mut draws.clone()));
    let centres = centres(fitted, n_clusters, begin, MAX_PASSES, draws);
    let all: Vec<u32> = (0..n_clusters as u32).collect();
    let mut members: Vec<Member> =
        rows.iter().map(|&row| nearest(points.get(row), &centres, &all)).collect();
    let mut sizes = vec![0_usize; n_clusters];
    members.iter().for_each(|member| sizes[member.cluster as usize] += 1);
    let least = MIN_SHARE * rows.len() as f64 / n_clusters as f64;
    let is_large = |cluster: u32| sizes[cluster as usize] as f64 >= least;
    let large: Vec<u32> = all.into_iter().filter(|&cluster| is_large(cluster)).collect();
    for (member, &row) in members.iter_mut().zip(rows) {
        if !is_large(member.cluster) {
            *member = nearest(points.get(row), &centres, &large);
        }
    }
    without_empty(members, n_clusters)
}

/// `n` of the points, one after another, each likelier the farther it is from those before it (k-means++).
fn spread(points: &Array2<f32>, n: usize, draws: &mut Xoshiro256PlusPlus) -> Array2<f32> {
    let numbers = points.as_slice().unwrap_or_default();
    let point = |index: usize| &numbers[index * points.ncols()..][..points.ncols()];
    let mut chosen = vec![draws.gen_range(0..points.nrows())];
    let mut distances = vec![f64::INFINITY; points.nrows()];
    while chosen.len() < n {
        let last = point(chosen[chosen.len() - 1]);
        for (index, distance) in distances.iter_mut().enumerate() {
            *distance = distance.min(f64::from(squared(point(index), last)));
        }
        let mut left = draws.r#gen::<f64>() * distances.iter().sum::<f64>();
        // Where all are where one is already, or beyond the finite numbers, any will do.
        let next = distances.iter().position(|distance| {
            left -= distance;
            left < 0.0
        });
        chosen.push(next.unwrap_or_default());
    }
    points.select(Axis(0), &chosen)
}

/// Centres `[n_clusters, dimensions]` of `points`, which come in any order but that of where they lie,
/// in at most so many passes over them; a single one where no more are found.
pub(super) fn centres(
    points: Array2<f32>,
    n_clusters: usize,
    begin: KMeansInit<f32>,
    n_passes: u64,
    draws: &Xoshiro256PlusPlus,
) -> Array2<f32> {
    let dataset = DatasetBase::from(points);
    let fit = KMeans::params_with(n_clusters, draws.clone(), Euclidean)
        .n_runs(1)
        .max_n_iterations(n_passes)
        .tolerance(TOLERANCE)
        .init_method(begin)
        .fit(&dataset);
    match fit {
        Ok(model) => model.centroids().clone(),
        // Distances beyond the finite numbers: one cluster around any point says as little.
        Err(_) => dataset.records.slice_move(ndarray::s![..1, ..]),
    }
}

/// The nearest of the centres at `clusters`.
fn nearest(point: &[f32], centres: &Array2<f32>, clusters: &[u32]) -> Member {
    let first = clusters.first().copied().unwrap_or_default();
    let mut best = Member { cluster: first, distance: f32::INFINITY };
    for &cluster in clusters {
        let centre = centres.row(cluster as usize);
        let distance = centre.as_slice().map_or(f32::INFINITY, |centre| squared(point, centre));
        if distance < best.distance {
            best = Member { cluster, distance };
        }
    }
    Member { distance: best.distance.sqrt(), ..best }
}

/// Numbers the clusters that have a member without gaps.
fn without_empty(mut members: Vec<Member>, n_clusters: usize) -> (Vec<Member>, u32) {
    let mut renumbered = vec![None; n_clusters];
    members.iter().for_each(|member| renumbered[member.cluster as usize] = Some(0));
    let mut n_used = 0;
    for number in renumbered.iter_mut().flatten() {
        *number = n_used;
        n_used += 1;
    }
    for member in &mut members {
        member.cluster = renumbered[member.cluster as usize].unwrap_or_default();
    }
    (members, n_used)
}

/// Euclidean distance. linfa's own goes through iterators one number at a time; this one keeps
/// sixteen sums so that the compiler vectorises it.
#[derive(Debug, Clone)]
struct Euclidean;

impl Distance<f32> for Euclidean {
    fn distance<D: Dimension>(&self, a: ArrayView<'_, f32, D>, b: ArrayView<'_, f32, D>) -> f32 {
        self.rdistance(a, b).sqrt()
    }

    fn rdistance<D: Dimension>(&self, a: ArrayView<'_, f32, D>, b: ArrayView<'_, f32, D>) -> f32 {
        match (a.as_slice(), b.as_slice()) {
            (Some(a), Some(b)) => squared(a, b),
            _ => a.iter().zip(&b).map(|(a, b)| (a - b) * (a - b)).sum(),
        }
    }

    fn rdist_to_dist(&self, rdist: f32) -> f32 {
        rdist.sqrt()
    }

    fn dist_to_rdist(&self, dist: f32) -> f32 {
        dist * dist
    }
}

/// Squared Euclidean distance, by the widest registers that there are, and to the bit the same by any.
pub(super) fn squared(a: &[f32], b: &[f32]) -> f32 {
    Arch::new().dispatch(|| squared_by_lanes(a, b))
}

#[inline(always)]
fn squared_by_lanes(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let mut sums = [0.0_f32; LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a_chunks.remainder().iter().zip(b_chunks.remainder());
    let rest: f32 = rest.map(|(a, b)| (a - b) * (a - b)).sum();
    for (a, b) in a_chunks.zip(b_chunks) {
        for lane in 0..LANES {
            let difference = a[lane] - b[lane];
            sums[lane] += difference * difference;
        }
    }
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learning::seed::{Draw, stream};
    use linfa_nn::distance::L2Dist;
    use ndarray::ArrayView1;

    fn draws() -> Xoshiro256PlusPlus {
        stream(3, Draw::Clusters)
    }

    fn random_points(n: usize, dimensions: usize) -> Points {
        let mut draws = draws();
        let numbers = (0..n * dimensions).map(|_| draws.gen_range(-1.0..1.0)).collect();
        Points { dimensions, numbers }
    }

    #[test]
    fn the_distance_is_linfas_own() {
        let points = random_points(20, 37);
        for row in 1..20 {
            let (a, b) = (ArrayView1::from(points.get(0)), ArrayView1::from(points.get(row)));
            let theirs: f32 = L2Dist.distance(a, b);
            assert!((Euclidean.distance(a, b) - theirs).abs() < 1e-5);
        }
    }

    #[test]
    fn points_far_apart_fall_into_clusters_of_their_own() {
        let mut points = random_points(200, 8);
        for row in 0..100 {
            points.numbers[row * 8..(row + 1) * 8].iter_mut().for_each(|x| *x += 100.0);
        }
        let rows: Vec<usize> = (0..200).collect();
        let (members, n_clusters) = cluster(&points, &rows, &draws());
        assert!((2..=10).contains(&n_clusters));
        let clusters = |range: std::ops::Range<usize>| -> std::collections::BTreeSet<u32> {
            members[range].iter().map(|member| member.cluster).collect()
        };
        assert!(clusters(0..100).is_disjoint(&clusters(100..200)));
        assert_eq!(clusters(0..200).len(), n_clusters as usize);
    }

    #[test]
    fn a_point_far_from_all_others_is_no_cluster_of_its_own() {
        for far in 0..20 {
            let mut points = random_points(100, 8);
            points.numbers[far * 8..(far + 1) * 8].fill(50.0);
            let rows: Vec<usize> = (0..100).collect();
            let (members, _) = cluster(&points, &rows, &draws());
            assert!(members[far].distance > 100.0, "{far}: {}", members[far].distance);
        }
    }

    #[test]
    fn few_or_equal_points_make_one_cluster() {
        let points = Points { dimensions: 2, numbers: vec![0.5; 200] };
        for n in [1, 2, 3, 100] {
            let rows: Vec<usize> = (0..n).collect();
            let (members, n_clusters) = cluster(&points, &rows, &draws());
            assert_eq!((members.len(), n_clusters), (n, 1));
            assert!(members.iter().all(|member| member.distance == 0.0));
        }
    }
}
