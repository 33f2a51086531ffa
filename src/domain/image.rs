//! Images as they are stored: whatever a file holds, brought to the pixels that a model takes.
//!
//! Invariant: what a file may cost is read from its header before anything is decoded, and no bytes
//! make a caller panic.

use std::io::Cursor;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ::image::imageops::FilterType;
use ::image::metadata::Orientation;
use ::image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use super::Invalid;
use super::input::{ImageSchema, Resize};

mod webp;

/// The largest image file, in bytes.
pub const MAX_FILE_BYTES: usize = 16 << 20;
/// The longest side of an image as it comes, in pixels.
const MAX_SIDE: u32 = 16_384;
/// The most that an image may take once it is decoded.
const MAX_DECODED_BYTES: u64 = 128 << 20;
/// What decodes to more than this is large.
const LARGE_BYTES: u64 = 16 << 20;
/// What the files of a batch or of a request may decode to, all together: a minute or two of work, whatever
/// the files' own size, and 900 photographs of 12 megapixels.
const MAX_DECODED_TOGETHER_BYTES: i64 = 32 << 30;

/// Held while a large image is decoded. One may take half a GiB for a moment: a progressive JPEG
/// keeps its coefficients beside its pixels. One at a time, so that memory does not grow with how
/// many come.
static LARGE: Mutex<()> = Mutex::new(());

/// The kinds of files that are taken, and what people call them.
const FORMATS: [(ImageFormat, &str); 5] = [
    (ImageFormat::Png, "PNG"),
    (ImageFormat::Jpeg, "JPEG"),
    (ImageFormat::WebP, "WebP"),
    (ImageFormat::Gif, "GIF"),
    (ImageFormat::Bmp, "BMP"),
];

/// What many image files may decode to, all together. How much a file takes is a matter of what its
/// header says, not of its own size; a clone counts towards the same.
#[derive(Debug, Clone)]
pub struct Budget {
    most_bytes: i64,
    bytes_left: Arc<AtomicI64>,
}

impl Default for Budget {
    fn default() -> Self {
        Self::of(MAX_DECODED_TOGETHER_BYTES)
    }
}

impl Budget {
    /// So many bytes.
    pub fn of(most_bytes: i64) -> Self {
        Self { most_bytes, bytes_left: Arc::new(AtomicI64::new(most_bytes)) }
    }

    /// Checks that there was enough for every file so far.
    ///
    /// # Errors
    /// [`Invalid`] from the first file on that was not decoded for the lack of it.
    pub fn check(&self) -> Result<(), Invalid> {
        match self.bytes_left.load(Ordering::Relaxed) {
            0.. => Ok(()),
            _ => Err(Invalid::new(format!(
                "the images decode to more than {} bytes, all together; send them in parts",
                self.most_bytes
            ))),
        }
    }

    /// Takes what an image does that is not over the limit of one.
    fn take(&self, n_bytes: u64) -> Result<(), Invalid> {
        self.bytes_left.fetch_sub(n_bytes as i64, Ordering::Relaxed);
        self.check()
    }
}

/// The pixels of an image file as `schema` has them: upright, over white where it is transparent,
/// of an animation the first frame.
///
/// # Errors
/// [`Invalid`] when it is no image, when it is damaged, or when it is over a limit.
pub fn decode(file: &[u8], schema: &ImageSchema) -> Result<Vec<f32>, Invalid> {
    decode_within(&Budget::default(), file, schema)
}

/// The same of one of many files, as long as `budget` lasts.
///
/// # Errors
/// The same, and where too little is left of the budget.
pub fn decode_within(
    budget: &Budget,
    file: &[u8],
    schema: &ImageSchema,
) -> Result<Vec<f32>, Invalid> {
    // A decoder is other people's code on anybody's bytes: where it gives up, this image is bad,
    // and nothing else.
    let pixels = catch_unwind(|| pixels(budget, file, schema))
        .unwrap_or_else(|_| Err(Invalid::new("the image is damaged: it cannot be decoded")))?;
    Ok(pixels.into_iter().map(f32::from).collect())
}

/// Whether `number` may be one of an image's: a whole number of 0 to 255.
pub fn is_pixel(number: f32) -> bool {
    (0.0..=255.0).contains(&number) && number.fract() == 0.0
}

fn pixels(budget: &Budget, file: &[u8], schema: &ImageSchema) -> Result<Vec<u8>, Invalid> {
    let (format, name) = format_of(file)?;
    let unreadable = |error: ImageError| unreadable(name, &error);
    let mut decoder = open(file, format).map_err(unreadable)?;
    check_header(&decoder)?;
    match format {
        ImageFormat::Jpeg if !ends(file) => {
            return Err(Invalid::new("the JPEG is cut off: its end is missing"));
        }
        ImageFormat::WebP => webp::check(file)?,
        _ => {}
    }
    // What a camera says about itself may be broken, and the picture fine.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    budget.take(decoder.total_bytes())?;
    let is_large = decoder.total_bytes() > LARGE_BYTES;
    let turn = is_large.then(|| LARGE.lock().unwrap_or_else(PoisonError::into_inner));
    if is_large {
        decoder.set_limits(limits(MAX_DECODED_BYTES)).map_err(unreadable)?;
    }
    let image = DynamicImage::from_decoder(decoder).map_err(unreadable)?;
    let stored = (image.width(), image.height());
    let view = View::of(turned(stored, orientation), schema);
    let mut image = reduced(over_white(in_eight_bits(image)), turned(view.factors(), orientation));
    drop(turn);
    image.apply_orientation(orientation);
    Ok(view.show(image, schema))
}

/// What reads a file that is not large: what is around an image may take no more than that before it
/// is this one's turn, whatever is said of colours (PNG), or of a frame beyond its canvas (GIF).
fn open(file: &[u8], format: ImageFormat) -> Result<impl ImageDecoder, ImageError> {
    let mut reader = ImageReader::with_format(Cursor::new(file), format);
    reader.limits(limits(LARGE_BYTES));
    reader.into_decoder()
}

/// Pixels of so many bytes, and as much again to work with.
fn limits(decoded_bytes: u64) -> Limits {
    let mut limits = Limits::default();
    limits.max_alloc = Some(2 * decoded_bytes);
    limits
}

fn format_of(file: &[u8]) -> Result<(ImageFormat, &'static str), Invalid> {
    match file.len() {
        0 => return Err(Invalid::new("the image file is empty")),
        1..=MAX_FILE_BYTES => {}
        _ => {
            let detail = format!("the image file is over {MAX_FILE_BYTES} bytes long");
            return Err(Invalid::new(detail));
        }
    }
    let guess = ::image::guess_format(file).ok();
    FORMATS.into_iter().find(|(format, _)| Some(*format) == guess).ok_or_else(|| {
        Invalid::new("the file is no image by its first bytes: send PNG, JPEG, WebP, GIF or BMP")
    })
}

fn check_header(decoder: &impl ImageDecoder) -> Result<(), Invalid> {
    let (width, height) = decoder.dimensions();
    if !(1..=MAX_SIDE).contains(&width) || !(1..=MAX_SIDE).contains(&height) {
        let detail = format!("the image is {width} × {height} pixels, a side is 1 to {MAX_SIDE}");
        return Err(Invalid::new(detail));
    }
    match decoder.total_bytes() {
        0..=MAX_DECODED_BYTES => Ok(()),
        bytes => Err(Invalid::new(format!(
            "the image is {width} × {height} pixels, which decode to {bytes} bytes, \
             {MAX_DECODED_BYTES} is the most; make it smaller"
        ))),
    }
}

fn unreadable(name: &str, error: &ImageError) -> Invalid {
    Invalid::new(match error {
        ImageError::Unsupported(_) => {
            format!("the {name} is of a rare kind that is not taken; save it as a plain PNG")
        }
        ImageError::Limits(_) => format!("the {name} takes too much memory; make it smaller"),
        _ => format!("the {name} is cut off or damaged"),
    })
}

/// Whether a JPEG has an end behind the beginning of its pixels: the decoder makes up what is
/// missing.
fn ends(jpeg: &[u8]) -> bool {
    const START_OF_SCAN: u8 = 0xda;
    let mut rest = jpeg.get(2..).unwrap_or_default();
    while let [0xff, marker, more @ ..] = rest {
        rest = match (marker, more) {
            (&START_OF_SCAN, _) => return more.windows(2).any(|pair| pair == [0xff, 0xd9]),
            // Filler before a marker.
            (0xff, _) => &rest[1..],
            // Each segment before the pixels tells its length.
            (_, [high, low, ..]) => {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                more.get(length..).unwrap_or_default()
            }
            _ => return false,
        };
    }
    // It is not of the usual order: the decoder has the word.
    !rest.is_empty()
}

fn in_eight_bits(image: DynamicImage) -> DynamicImage {
    match image {
        DynamicImage::ImageLuma16(_) => image.into_luma8().into(),
        DynamicImage::ImageLumaA16(_) => image.into_luma_alpha8().into(),
        DynamicImage::ImageRgb16(_) => image.into_rgb8().into(),
        DynamicImage::ImageRgba16(_) => image.into_rgba8().into(),
        image => image,
    }
}

/// Lays transparent pixels over white, in place. It comes before any averaging: what colour is
/// under a transparent pixel is chance.
fn over_white(mut image: DynamicImage) -> DynamicImage {
    let lay = |samples: &mut [u8], n_channels: usize| {
        for pixel in samples.chunks_exact_mut(n_channels) {
            if let [colours @ .., alpha @ 0..=254] = pixel {
                let alpha = u32::from(std::mem::replace(alpha, 255));
                for colour in colours {
                    let mixed = u32::from(*colour) * alpha + 255 * (255 - alpha);
                    *colour = ((mixed + 127) / 255) as u8;
                }
            }
        }
    };
    match &mut image {
        DynamicImage::ImageLumaA8(image) => lay(image, 2),
        DynamicImage::ImageRgba8(image) => lay(image, 4),
        _ => {}
    }
    image
}

/// The image with both sides divided by `factors`, each pixel the mean of a block: most of the way
/// from a photograph to a model's few pixels, at the cost of reading it once.
fn reduced(image: DynamicImage, (across, down): (u32, u32)) -> DynamicImage {
    match (across, down) {
        (1, 1) => image,
        _ => image.thumbnail_exact(image.width().div_ceil(across), image.height().div_ceil(down)),
    }
}

/// A pair of horizontal and vertical as it is after `orientation`, or was before.
fn turned((x, y): (u32, u32), orientation: Orientation) -> (u32, u32) {
    match orientation {
        Orientation::Rotate90
        | Orientation::Rotate270
        | Orientation::Rotate90FlipH
        | Orientation::Rotate270FlipH => (y, x),
        _ => (x, y),
    }
}

/// What of an upright image is shown, and how large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct View {
    /// Width and height of the image.
    whole: (u32, u32),
    /// Of the part in its middle that is shown.
    part: (u32, u32),
    /// Of what that becomes.
    shown: (u32, u32),
}

impl View {
    fn of(whole: (u32, u32), schema: &ImageSchema) -> Self {
        let (width, height) = whole;
        let target = (schema.width as u32, schema.height as u32);
        let (across, down) = target;
        let is_wider = u64::from(width) * u64::from(down) >= u64::from(height) * u64::from(across);
        let (part, shown) = match schema.resize {
            Resize::Stretch => (whole, target),
            Resize::Fit if is_wider => (whole, (across, scaled(height, across, width))),
            Resize::Fit => (whole, (scaled(width, down, height), down)),
            Resize::Crop if is_wider => ((scaled(height, across, down), height), target),
            Resize::Crop => ((width, scaled(width, down, across)), target),
        };
        Self { whole, part, shown }
    }

    /// What both sides are divided by first: two to three times of what is shown remain, for a
    /// better filter.
    fn factors(&self) -> (u32, u32) {
        // The rest of a longer way is short enough for that filter.
        const MOST: u32 = 64;
        let factor = |from: u32, to: u32| (from / (2 * to)).clamp(1, MOST);
        (factor(self.part.0, self.shown.0), factor(self.part.1, self.shown.1))
    }

    /// The pixels of an upright image of which this is the view, and that may be reduced.
    fn show(&self, image: DynamicImage, schema: &ImageSchema) -> Vec<u8> {
        let mut image: DynamicImage = match schema.channels {
            1 => image.into_luma8().into(),
            _ => image.into_rgb8().into(),
        };
        let (width, height) = (image.width(), image.height());
        if self.part != self.whole {
            let across = scaled(self.part.0, width, self.whole.0);
            let down = scaled(self.part.1, height, self.whole.1);
            image = image.crop_imm((width - across) / 2, (height - down) / 2, across, down);
        }
        let (across, down) = self.shown;
        if (image.width(), image.height()) != self.shown {
            image = image.resize_exact(across, down, FilterType::Lanczos3);
        }
        let shown = image.into_bytes();
        if shown.len() == schema.n_numbers() {
            return shown;
        }
        let (across, down, n_channels) = (across as usize, down as usize, schema.channels);
        let (left, top) = ((schema.width - across) / 2, (schema.height - down) / 2);
        let mut pixels = vec![0; schema.n_numbers()];
        let rows = pixels.chunks_exact_mut(schema.width * n_channels).skip(top);
        for (row, shown) in rows.zip(shown.chunks_exact(across * n_channels)) {
            row[left * n_channels..][..shown.len()].copy_from_slice(shown);
        }
        pixels
    }
}

/// `length · by / of`, rounded, and at least 1.
fn scaled(length: u32, by: u32, of: u32) -> u32 {
    let of = u64::from(of);
    ((u64::from(length) * u64::from(by) + of / 2) / of).max(1) as u32
}

#[cfg(test)]
mod decode_tests;
#[cfg(test)]
mod hostile_tests;
