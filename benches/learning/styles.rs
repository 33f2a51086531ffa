//! Five styles of the same images: the labels stay, what they look like moves.

use rand::Rng;
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::fashion::SIDE;

/// How many styles there are.
pub const STYLES: usize = 5;
/// Standard deviation of the noise, in brightnesses of 0 to 255.
const NOISE: f64 = 64.0;

/// The image in a style: 0 clean, 1 rotated by 45°, 2 inverted and dim, 3 noisy, 4 rotated by 90°
/// and bright.
pub fn restyle(style: usize, pixels: &[u8], random: &mut Xoshiro256PlusPlus) -> Vec<u8> {
    let each = |change: &dyn Fn(u8) -> u8| pixels.iter().map(|&pixel| change(pixel)).collect();
    match style {
        0 => pixels.to_vec(),
        1 => rotate_by_45(pixels),
        2 => each(&|pixel| (255 - pixel) / 2),
        3 => pixels.iter().map(|&pixel| brightness(f64::from(pixel) + noise(random))).collect(),
        _ => rotate_by_90(pixels).iter().map(|pixel| 128 + pixel / 2).collect(),
    }
}

fn brightness(value: f64) -> u8 {
    value.round().clamp(0.0, 255.0) as u8
}

/// Normally distributed (Box & Muller 1958).
fn noise(random: &mut Xoshiro256PlusPlus) -> f64 {
    let (radius, angle) = (1.0 - random.gen_range(0.0..1.0f64), random.gen_range(0.0..1.0f64));
    NOISE * (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}

/// About the middle, between pixels by bilinear interpolation, black where nothing was.
fn rotate_by_45(pixels: &[u8]) -> Vec<u8> {
    let middle = (SIDE - 1) as f64 / 2.0;
    let (sine, cosine) = std::f64::consts::FRAC_PI_4.sin_cos();
    let at = |row: f64, column: f64| {
        let inside = |place: f64| (0.0..SIDE as f64).contains(&place);
        match inside(row) && inside(column) {
            true => f64::from(pixels[row as usize * SIDE + column as usize]),
            false => 0.0,
        }
    };
    let turned = |index: usize| {
        let (y, x) = ((index / SIDE) as f64 - middle, (index % SIDE) as f64 - middle);
        let (row, column) = (middle + cosine * y - sine * x, middle + sine * y + cosine * x);
        let (top, left) = (row.floor(), column.floor());
        let (down, right) = (row - top, column - left);
        let upper = (1.0 - right) * at(top, left) + right * at(top, left + 1.0);
        let lower = (1.0 - right) * at(top + 1.0, left) + right * at(top + 1.0, left + 1.0);
        brightness((1.0 - down) * upper + down * lower)
    };
    (0..pixels.len()).map(turned).collect()
}

fn rotate_by_90(pixels: &[u8]) -> Vec<u8> {
    (0..pixels.len()).map(|index| pixels[(index % SIDE) * SIDE + SIDE - 1 - index / SIDE]).collect()
}
