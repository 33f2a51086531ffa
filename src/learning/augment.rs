//! Images changed at random in training, so that what is learnt of one holds for all that look like it
//! (Shorten & Khoshgoftaar 2019; cutout: DeVries & Taylor 2017).

use rand::Rng;

use crate::domain::input::ImageSchema;
use crate::domain::settings::{Augmentation, ModelSettings};

use super::seed::{Draw, stream};

/// Changes rows of normalised images.
#[derive(Debug, Clone)]
pub(super) struct Augmenter {
    image: ImageSchema,
    settings: Augmentation,
    seed: u64,
}

impl Augmenter {
    /// That of a model, where it has one; `seed` decides every draw.
    pub(super) fn of(settings: &ModelSettings, seed: u64) -> Option<Self> {
        let image = settings.input.image()?.clone();
        let settings = settings.learning.augmentation.clone();
        (settings != Augmentation::default()).then_some(Self { image, settings, seed })
    }

    /// Changes `rows`, the images of minibatch number `index`, the same way each time.
    pub(super) fn change(&self, rows: &mut [f32], index: u64) {
        let draws = &mut stream(self.seed.wrapping_add(index), Draw::Augmentation);
        for image in rows.chunks_exact_mut(self.image.n_numbers()) {
            self.change_one(image, draws);
        }
    }

    fn change_one(&self, pixels: &mut [f32], draws: &mut impl Rng) {
        let Augmentation { shift, flip, brightness, contrast, cutout } = self.settings;
        let shift = i64::from(shift);
        let moved = (draws.gen_range(-shift..=shift), draws.gen_range(-shift..=shift));
        let flipped = flip && draws.r#gen();
        if moved != (0, 0) || flipped {
            self.rearrange(pixels, moved, flipped);
        }
        let factor = 1.0 + draws.gen_range(-contrast..=contrast);
        let added = draws.gen_range(-brightness..=brightness);
        if factor != 1.0 || added != 0.0 {
            let mean = pixels.iter().sum::<f32>() / pixels.len() as f32;
            pixels.iter_mut().for_each(|pixel| *pixel = mean + (*pixel - mean) * factor + added);
        }
        if cutout > 0 {
            self.cut_out(pixels, cutout as usize, draws);
        }
    }

    /// Moves the image; where nothing comes from, the nearest pixel does.
    fn rearrange(&self, pixels: &mut [f32], (right, down): (i64, i64), flipped: bool) {
        let ImageSchema { width, height, channels, .. } = self.image;
        let before = pixels.to_vec();
        let near = |at: usize, by: i64, n: usize| (at as i64 - by).clamp(0, n as i64 - 1) as usize;
        for (place, pixel) in pixels.chunks_exact_mut(channels).enumerate() {
            let (x, y) = (near(place % width, right, width), near(place / width, down, height));
            let x = if flipped { width - 1 - x } else { x };
            let from = (y * width + x) * channels;
            pixel.copy_from_slice(&before[from..from + channels]);
        }
    }

    /// Makes a square about a drawn place the mean of all images, which is 0.
    fn cut_out(&self, pixels: &mut [f32], side: usize, draws: &mut impl Rng) {
        let ImageSchema { width, height, channels, .. } = self.image;
        let (x, y) = (draws.gen_range(0..width), draws.gen_range(0..height));
        let range = |at: usize, n: usize| at.saturating_sub(side / 2)..n.min(at + side.div_ceil(2));
        for row in range(y, height) {
            let columns = range(x, width);
            let row = &mut pixels[row * width * channels..][..width * channels];
            row[columns.start * channels..columns.end * channels].fill(0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::input::Resize;

    fn augmenter(settings: Augmentation) -> Augmenter {
        let image = ImageSchema { width: 3, height: 2, channels: 2, resize: Resize::Stretch };
        Augmenter { image, settings, seed: 1 }
    }

    const IMAGE: [f32; 12] = [1.0, -1.0, 2.0, -2.0, 3.0, -3.0, 4.0, -4.0, 5.0, -5.0, 6.0, -6.0];

    #[test]
    fn an_image_is_moved_and_mirrored_pixel_by_pixel() {
        let rearranged = |moved, flipped| {
            let mut pixels = IMAGE;
            augmenter(Augmentation::default()).rearrange(&mut pixels, moved, flipped);
            pixels.iter().step_by(2).copied().collect::<Vec<_>>()
        };
        assert_eq!(rearranged((0, 0), true), [3.0, 2.0, 1.0, 6.0, 5.0, 4.0]);
        assert_eq!(rearranged((1, 0), false), [1.0, 1.0, 2.0, 4.0, 4.0, 5.0]);
        assert_eq!(rearranged((-2, 1), false), [3.0, 3.0, 3.0, 3.0, 3.0, 3.0]);
    }

    #[test]
    fn a_minibatch_is_changed_the_same_way_each_time_and_another_in_another() {
        let settings =
            Augmentation { shift: 1, flip: true, brightness: 0.5, contrast: 0.5, cutout: 1 };
        let changed = |index| {
            let mut rows = [IMAGE, IMAGE].concat();
            augmenter(settings.clone()).change(&mut rows, index);
            rows
        };
        assert_eq!(changed(3), changed(3));
        assert_ne!(changed(3), changed(4));
        assert_ne!(changed(3)[..12], changed(3)[12..]);
        assert_ne!(changed(3)[..12], IMAGE);
    }

    #[test]
    fn a_square_is_blotted_out() {
        let settings = Augmentation { cutout: 1, ..Augmentation::default() };
        let mut pixels = IMAGE;
        augmenter(settings).change(&mut pixels, 0);
        assert_eq!(pixels.iter().filter(|&&pixel| pixel == 0.0).count(), 2);
    }
}
