//! Clusters within one label, by k-means (Lloyd 1982; begun by Arthur & Vassilvitskii 2007).
//!
//! The nearest centre is that with which a point has the largest product, less half the centre's own: one product
//! of matrices. linfa's k-means, which compares a pair at a time, is what tests hold this against, and learns the
//! dictionary of images once. The cost is bounded: centres are fitted on at most 4,000 points in at most 10 passes,
//! and the other points are only assigned.

use pulp::Arch;
use rand::Rng;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::network::packed::{Packed, Rows};
use super::predict::{CHUNK, largest};
use super::space::Points;

/// The most points that centres are fitted on.
const MAX_FITTED: usize = 4_000;
/// The most points that centres begin at one of.
const MAX_SPREAD: usize = 1_000;
/// The most passes over those that they are fitted on.
const MAX_PASSES: usize = 10;
/// Centres that all move less than this in a pass have settled.
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

/// Clusters the points at `rows`, of which there are some, √(n/2) clusters but 2 to 64, or fewer where some would
/// be nearly empty; answers for each row, and how many clusters there are.
pub fn cluster(points: &Points, rows: &[usize], draws: &Xoshiro256PlusPlus) -> (Vec<Member>, u32) {
    let wanted = (((rows.len() / 2) as f64).sqrt() as usize).clamp(2, 64);
    let n_clusters = if rows.len() < MIN_DIVIDED { 1 } else { wanted };
    let points = points.at(rows);
    let centres = fit(&points.first(MAX_FITTED), n_clusters, &mut draws.clone());
    let clusters = nearest(&points, &centres);
    let mut sizes = vec![0_usize; n_clusters];
    clusters.iter().for_each(|&cluster| sizes[cluster] += 1);
    let least = MIN_SHARE * rows.len() as f64 / n_clusters as f64;
    let large: Vec<usize> = (0..n_clusters).filter(|&n| sizes[n] as f64 >= least).collect();
    let centres = centres.at(&large);
    let member = |(row, cluster): (usize, usize)| Member {
        cluster: cluster as u32,
        distance: squared(points.get(row), centres.get(cluster)).sqrt(),
    };
    let members = nearest(&points, &centres).into_iter().enumerate().map(member).collect();
    (members, large.len() as u32)
}

/// The centres of `n` clusters of `points`.
fn fit(points: &Points, n: usize, draws: &mut Xoshiro256PlusPlus) -> Points {
    let mut centres = spread(points, n, draws);
    for _ in 0..MAX_PASSES {
        let means = means(points, &nearest(points, &centres), &centres);
        let moved = (0..n).map(|cluster| squared(means.get(cluster), centres.get(cluster)));
        let has_settled = moved.fold(0.0, f32::max) <= TOLERANCE * TOLERANCE;
        centres = means;
        if has_settled {
            break;
        }
    }
    centres
}

/// `n` of the points, one after another: of a few, each likelier the farther it is from those before it, the one
/// that leaves the points the least far (k-means++, greedy).
fn spread(points: &Points, n: usize, draws: &mut Xoshiro256PlusPlus) -> Points {
    let points = points.first(MAX_SPREAD);
    let n_tried = 2 + (n as f64).ln() as usize;
    let farther = |distances: &[f64], index: usize| -> Vec<f64> {
        let to = |other: usize| f64::from(squared(points.get(other), points.get(index)));
        distances.iter().enumerate().map(|(other, before)| before.min(to(other))).collect()
    };
    let mut chosen = vec![draws.gen_range(0..points.len())];
    let mut distances = farther(&vec![f64::INFINITY; points.len()], chosen[0]);
    while chosen.len() < n {
        let all: f64 = distances.iter().sum();
        let tried = (0..n_tried).map(|_| {
            let mut left = draws.r#gen::<f64>() * all;
            let drawn = distances.iter().position(|distance| {
                left -= distance;
                left < 0.0
            });
            // Where all are where one is already, or beyond the finite numbers, any will do.
            let index = drawn.unwrap_or_default();
            let distances = farther(&distances, index);
            (distances.iter().sum::<f64>(), index, distances)
        });
        let best = tried.min_by(|(a, ..), (b, ..)| a.total_cmp(b));
        let (_, index, left) = best.expect("some are tried");
        chosen.push(index);
        distances = left;
    }
    points.at(&chosen)
}

/// Which of `centres` is nearest to each point; of several the first.
fn nearest(points: &Points, centres: &Points) -> Vec<usize> {
    let (n_in, n_out) = (points.dimensions, centres.len());
    let half = |centre: &[f32]| -0.5 * centre.iter().map(|number| number * number).sum::<f32>();
    let halves: Vec<f32> = centres.numbers.chunks_exact(n_in).map(half).collect();
    let centres = Packed::transpose_of(&centres.numbers, n_in);
    let mut nearest = Vec::with_capacity(points.len());
    for rows in points.numbers.chunks(CHUNK * n_in) {
        let mut products = halves.repeat(rows.len() / n_in);
        centres.add_product(Rows::Whole(rows), &mut products);
        nearest.extend(products.chunks_exact(n_out).map(largest));
    }
    nearest
}

/// The means of clusters; where one is empty, its centre stays.
fn means(points: &Points, clusters: &[usize], centres: &Points) -> Points {
    let n = points.dimensions;
    let mut sums = Points { dimensions: n, numbers: vec![0.0; centres.numbers.len()] };
    let mut sizes = vec![0.0_f32; centres.len()];
    for (point, &cluster) in points.numbers.chunks_exact(n).zip(clusters) {
        let sum = &mut sums.numbers[cluster * n..(cluster + 1) * n];
        sum.iter_mut().zip(point).for_each(|(sum, number)| *sum += number);
        sizes[cluster] += 1.0;
    }
    let means = sums.numbers.chunks_exact_mut(n).zip(centres.numbers.chunks_exact(n));
    for ((mean, centre), size) in means.zip(sizes) {
        match size {
            0.0 => mean.copy_from_slice(centre),
            size => mean.iter_mut().for_each(|number| *number /= size),
        }
    }
    sums
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
    use linfa::DatasetBase;
    use linfa::traits::{Fit, Predict};
    use linfa_clustering::KMeans;
    use linfa_nn::distance::L2Dist;
    use ndarray::{Array2, ArrayView1};

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
            let theirs: f32 = linfa_nn::distance::Distance::distance(&L2Dist, a, b);
            assert!((squared(points.get(0), points.get(row)).sqrt() - theirs).abs() < 1e-5);
        }
    }

    #[test]
    fn clusters_are_as_tight_as_linfas() {
        const N: usize = 1_000;
        let middles = random_points(30, 12);
        let mut points = random_points(N, 12);
        for (row, point) in points.numbers.chunks_exact_mut(12).enumerate() {
            let middle = middles.get(row % 30);
            point.iter_mut().zip(middle).for_each(|(number, middle)| *number += 3.0 * middle);
        }
        let rows: Vec<usize> = (0..N).collect();
        let (members, n_clusters) = cluster(&points, &rows, &draws());
        let ours: f32 = members.iter().map(|member| member.distance.powi(2)).sum();
        let all = Array2::from_shape_vec((N, 12), points.numbers.clone()).unwrap();
        let dataset = DatasetBase::from(all);
        let model = KMeans::params_with(n_clusters as usize, draws(), L2Dist)
            .n_runs(3)
            .fit(&dataset)
            .unwrap();
        let theirs: f32 = (model.predict(&dataset).iter().enumerate())
            .map(|(row, &cluster)| {
                squared(points.get(row), model.centroids().row(cluster).as_slice().unwrap())
            })
            .sum();
        assert!(ours < 1.05 * theirs, "{ours} {theirs}");
        for (row, member) in members.iter().enumerate() {
            let of = |cluster| members.iter().zip(&rows).filter(move |(m, _)| m.cluster == cluster);
            let mean = |cluster: u32| -> Vec<f32> {
                let n = of(cluster).count() as f32;
                let sum = |at: usize| of(cluster).map(|(_, &row)| points.get(row)[at]).sum::<f32>();
                (0..12).map(|at| sum(at) / n).collect()
            };
            if row % 100 == 0 {
                let own = squared(points.get(row), &mean(member.cluster)).sqrt();
                assert!((own - member.distance).abs() < 0.5, "{own} {}", member.distance);
            }
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
