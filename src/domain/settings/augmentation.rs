//! How images are changed at random in training.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::Invalid;
use crate::domain::input::ImageSchema;

/// Changes of images that leave what they show: what is learnt of one holds for all that look like it.
/// Each is drawn anew whenever an image is trained on.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Augmentation {
    /// Moved by up to so many pixels each way, at most half a side.
    pub shift: u32,
    /// Mirrored, left to right, half of the time: where that is no other thing, as with letters.
    pub flip: bool,
    /// Made brighter or darker by up to so many deviations, 0 to 2.
    pub brightness: f32,
    /// Contrast raised or lowered by up to this share, 0 to 1.
    pub contrast: f32,
    /// A square of so many pixels a side blotted out, at most the shorter side.
    pub cutout: u32,
}

impl Augmentation {
    pub(super) fn check(&self, image: &ImageSchema) -> Result<(), Invalid> {
        let shortest = image.width.min(image.height) as u32;
        if self.shift > shortest / 2 {
            return Err(Invalid::at("/shift", format!("shift is 0 to {}", shortest / 2)));
        }
        if !(0.0..=2.0).contains(&self.brightness) {
            return Err(Invalid::at("/brightness", "brightness is 0 to 2"));
        }
        if !(0.0..=1.0).contains(&self.contrast) {
            return Err(Invalid::at("/contrast", "contrast is 0 to 1"));
        }
        if self.cutout > shortest {
            return Err(Invalid::at("/cutout", format!("cutout is 0 to {shortest}")));
        }
        Ok(())
    }
}
