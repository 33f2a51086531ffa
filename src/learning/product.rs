//! Products of matrices of which neither factor is met twice: by gemm, which takes the widest vector
//! instructions there are, on the threads of the pool that it is called in. A sum goes over the factors'
//! common side in the same order on however many.

use gemm::Parallelism;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, LinalgScalar};

/// `sums + scale·a·b`, in the place of `sums`.
///
/// # Panics
/// Where sizes do not fit each other.
pub(super) fn add_product<F: LinalgScalar>(
    sums: &mut ArrayViewMut2<'_, F>,
    scale: F,
    a: ArrayView2<'_, F>,
    b: ArrayView2<'_, F>,
) {
    let (m, k, n) = (a.nrows(), a.ncols(), b.ncols());
    assert!(b.nrows() == k && sums.dim() == (m, n), "{m} x {k} times {} x {n}", b.nrows());
    let [sums_by, a_by, b_by] = [sums.strides(), a.strides(), b.strides()].map(|by| (by[0], by[1]));
    #[expect(unsafe_code, reason = "gemm takes pointers")]
    // SAFETY: all three are views of as many rows and columns as are said, at their own strides; what is
    // written to is borrowed for this call alone, so it overlaps with nothing.
    unsafe {
        let (sums, a, b) = (sums.as_mut_ptr(), a.as_ptr(), b.as_ptr());
        gemm::gemm(
            m,
            n,
            k,
            sums,
            sums_by.1,
            sums_by.0,
            true,
            a,
            a_by.1,
            a_by.0,
            b,
            b_by.1,
            b_by.0,
            F::one(),
            scale,
            false,
            false,
            false,
            Parallelism::Rayon(0),
        );
    }
}

/// `a·b`.
///
/// # Panics
/// Where sizes do not fit each other.
pub(super) fn product<F: LinalgScalar>(a: ArrayView2<'_, F>, b: ArrayView2<'_, F>) -> Array2<F> {
    let mut sums = Array2::zeros((a.nrows(), b.ncols()));
    add_product(&mut sums.view_mut(), F::one(), a, b);
    sums
}

#[cfg(test)]
mod tests {
    use ndarray::s;
    use rand::Rng;

    use super::*;
    use crate::learning::seed::{Draw, stream};

    #[test]
    fn parts_of_matrices_are_multiplied_the_right_way_round_on_any_number_of_threads() {
        let draws = &mut stream(1, Draw::Features);
        let mut random =
            |n, width| Array2::from_shape_simple_fn((n, width), || draws.gen_range(-1.0..1.0));
        let (a, b): (Array2<f64>, Array2<f64>) = (random(211, 150), random(170, 150));
        let (a, b) = (a.slice(s![3.., ..130]), b.slice(s![.., 20..]));
        let all = random(210, 180);
        let added = |n_threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
            let mut sums = all.clone();
            let mut part = sums.slice_mut(s![2.., 10..]);
            pool.install(|| add_product(&mut part, -0.5, a, b.t()));
            sums
        };
        let mut expected = all.clone();
        expected.slice_mut(s![2.., 10..]).scaled_add(-0.5, &a.dot(&b.t()));
        let sums = added(1);
        assert!((&sums - &expected).iter().all(|difference| difference.abs() < 1e-12));
        assert_eq!(added(3), sums);
        let exact = a.dot(&b.t());
        assert!((product(a, b.t()) - exact).iter().all(|difference| difference.abs() < 1e-12));
        assert_eq!(product(a.slice(s![.., ..0]), b.t().slice(s![..0, ..])).sum(), 0.0);
    }
}
