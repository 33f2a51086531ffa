//! Where the numbers of an image lie, pixel by pixel and patch by patch.

/// Side of a patch that a convolution reads.
const PATCH: usize = 3;

/// The size of what a stage reads or says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Map {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) depth: usize,
}

impl Map {
    pub(super) fn n_pixels(self) -> usize {
        self.width * self.height
    }

    pub(super) fn n_numbers(self) -> usize {
        self.n_pixels() * self.depth
    }

    /// Numbers of a patch.
    pub(super) fn n_read(self) -> usize {
        PATCH * PATCH * self.depth
    }

    /// With other channels.
    pub(super) fn of_depth(self, depth: usize) -> Self {
        Self { depth, ..self }
    }

    /// Half as wide and high; what is left over is dropped.
    pub(super) fn halved(self) -> Self {
        Self { width: self.width / 2, height: self.height / 2, ..self }
    }
}

/// The four pixels that become (x, y).
pub(super) fn four(map: Map, x: usize, y: usize) -> [usize; 4] {
    let first = 2 * y * map.width + 2 * x;
    [first, first + 1, first + map.width, first + map.width + 1]
}

/// The first number of each pixel that the patch around (x, y) reads, row by row; three in a row lie
/// side by side but at the edge.
fn around(map: Map, x: usize, y: usize) -> [[usize; PATCH]; PATCH] {
    let near = |at: usize, shift: usize, n: usize| (at + shift).saturating_sub(1).min(n - 1);
    std::array::from_fn(|dy| {
        let row = near(y, dy, map.height) * map.width;
        std::array::from_fn(|dx| (row + near(x, dx, map.width)) * map.depth)
    })
}

/// The patch around each pixel, `[pixels, n_read]` row-major.
pub(super) fn gather(numbers: &[f32], map: Map, patches: &mut Vec<f32>) {
    // All of it is written anew.
    patches.resize(map.n_pixels() * map.n_read(), 0.0);
    match map.depth {
        1 => gather_deep::<1>(numbers, map, patches),
        3 => gather_deep::<3>(numbers, map, patches),
        depth => gather_any(numbers, map, depth, patches),
    }
}

/// The same for a depth that the compiler knows: so few numbers are moved at a time that a call for
/// each would take longer than the moving.
fn gather_deep<const DEPTH: usize>(numbers: &[f32], map: Map, patches: &mut [f32]) {
    gather_any(numbers, map, DEPTH, patches);
}

#[inline(always)]
fn gather_any(numbers: &[f32], map: Map, depth: usize, patches: &mut [f32]) {
    let n_row = PATCH * depth;
    for (pixel, patch) in patches.chunks_exact_mut(PATCH * n_row).enumerate() {
        let (x, y) = (pixel % map.width, pixel / map.width);
        let is_inside = 0 < x && x + 1 < map.width;
        for (into, row) in patch.chunks_exact_mut(n_row).zip(around(map, x, y)) {
            if is_inside {
                into.copy_from_slice(&numbers[row[0]..row[0] + n_row]);
            } else {
                for (into, at) in into.chunks_exact_mut(depth).zip(row) {
                    into.copy_from_slice(&numbers[at..at + depth]);
                }
            }
        }
    }
}

/// Adds up what the patches around all pixels say of each number: the transpose of [`gather`].
pub(super) fn scatter(of_patches: &[f32], map: Map) -> Vec<f32> {
    let depth = map.depth;
    let mut sums = vec![0.0_f32; map.n_numbers()];
    let mut patches = of_patches.chunks_exact(depth);
    for y in 0..map.height {
        for x in 0..map.width {
            for at in around(map, x, y).as_flattened() {
                let slopes = patches.next().unwrap_or_default();
                let sums = &mut sums[*at..at + depth];
                sums.iter_mut().zip(slopes).for_each(|(sum, slope)| *sum += slope);
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_beyond_the_edge_repeats_the_nearest_pixel() {
        let map = Map { width: 3, height: 2, depth: 1 };
        let mut patches = Vec::new();
        gather(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], map, &mut patches);
        assert_eq!(patches[..9], [1.0, 1.0, 2.0, 1.0, 1.0, 2.0, 4.0, 4.0, 5.0]);
        assert_eq!(patches[9..18], [1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(patches[45..], [2.0, 3.0, 3.0, 5.0, 6.0, 6.0, 5.0, 6.0, 6.0]);
    }

    #[test]
    fn scattering_is_the_transpose_of_gathering() {
        let map = Map { width: 4, height: 3, depth: 2 };
        let numbers: Vec<f32> = (0..map.n_numbers()).map(|i| (i * 7 % 5) as f32).collect();
        let mut patches = Vec::new();
        gather(&numbers, map, &mut patches);
        let others: Vec<f32> = (0..patches.len()).map(|i| (i * 3 % 7) as f32).collect();
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        assert_eq!(dot(&patches, &others), dot(&numbers, &scatter(&others, map)));
    }
}
