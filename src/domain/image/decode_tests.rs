//! Images made here, decoded: formats, orientation, transparency, sizes; and whatever bytes come.

use std::io::Cursor;

use ::image::codecs::gif::GifEncoder;
use ::image::{Frame, GrayImage, Luma, Rgb, RgbImage, Rgba, RgbaImage};
use proptest::prelude::*;

use super::*;
use crate::domain::cases;

fn schema(width: usize, height: usize, channels: usize, resize: Resize) -> ImageSchema {
    ImageSchema { width, height, channels, resize }
}

fn grey(side: usize) -> ImageSchema {
    schema(side, side, 1, Resize::Stretch)
}

fn file(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    image.into().write_to(&mut Cursor::new(&mut bytes), format).unwrap();
    bytes
}

fn png(image: impl Into<DynamicImage>) -> Vec<u8> {
    file(image, ImageFormat::Png)
}

/// A picture without symmetry: brighter to the right, and, more, to the bottom.
fn slope(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let share = |at: u32, of: u32, most: u32| (at * most / of.max(1)) as u8;
        let level = share(x, width, 80) + share(y, height, 160);
        Rgb([level, level / 2, 255 - level])
    })
}

fn reason(file: &[u8]) -> String {
    decode(file, &grey(8)).unwrap_err().detail
}

fn mean_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f32>() / a.len() as f32
}

#[test]
fn an_image_of_the_size_is_taken_as_it_is() {
    let image = RgbImage::from_fn(9, 8, |x, y| Rgb([x as u8, y as u8, (x * y) as u8]));
    let pixels: Vec<f32> = image.as_raw().iter().map(|&byte| f32::from(byte)).collect();
    for resize in [Resize::Stretch, Resize::Fit, Resize::Crop] {
        assert_eq!(decode(&png(image.clone()), &schema(9, 8, 3, resize)).unwrap(), pixels);
    }
    let image = GrayImage::from_fn(8, 8, |x, y| Luma([(x * 30 + y) as u8]));
    let pixels: Vec<f32> = image.as_raw().iter().map(|&byte| f32::from(byte)).collect();
    assert_eq!(decode(&png(image.clone()), &grey(8)).unwrap(), pixels);
    let repeated: Vec<f32> = pixels.iter().flat_map(|&pixel| [pixel; 3]).collect();
    assert_eq!(decode(&png(image), &schema(8, 8, 3, Resize::Stretch)).unwrap(), repeated);
}

#[test]
fn every_format_says_the_same() {
    let image = slope(16, 16);
    let schema = schema(16, 16, 3, Resize::Stretch);
    let expected = decode(&png(image.clone()), &schema).unwrap();
    for format in [ImageFormat::Bmp, ImageFormat::WebP] {
        assert_eq!(decode(&file(image.clone(), format), &schema).unwrap(), expected, "{format:?}");
    }
    for format in [ImageFormat::Jpeg, ImageFormat::Gif] {
        let pixels = decode(&file(image.clone(), format), &schema).unwrap();
        assert!(mean_difference(&pixels, &expected) < 5.0, "{format:?}");
    }
    let deep = DynamicImage::ImageRgb8(image).into_rgb16();
    assert_eq!(decode(&png(deep), &schema).unwrap(), expected);
}

#[test]
fn an_animation_is_its_first_frame() {
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new(&mut bytes);
    for level in [200, 10, 90] {
        encoder
            .encode_frame(Frame::new(RgbaImage::from_pixel(8, 8, Rgba([level, level, level, 255]))))
            .unwrap();
    }
    drop(encoder);
    assert_eq!(decode(&bytes, &grey(8)).unwrap(), [200.0; 64]);
}

#[test]
fn transparent_pixels_lie_over_white_before_they_are_averaged() {
    let half = |alpha| {
        RgbaImage::from_fn(8, 8, move |x, _| Rgba([0, 0, 0, if x < 4 { 255 } else { alpha }]))
    };
    let row = |file: &[u8]| decode(file, &grey(8)).unwrap()[..8].to_vec();
    for (alpha, level) in [(0, 255.0), (255, 0.0), (51, 204.0)] {
        let expected = [0.0, 0.0, 0.0, 0.0, level, level, level, level];
        assert_eq!(row(&png(half(alpha))), expected);
        let grey = DynamicImage::ImageRgba8(half(alpha)).into_luma_alpha8();
        assert_eq!(row(&png(grey)), expected);
        let deep = DynamicImage::ImageRgba8(half(alpha)).into_rgba16();
        assert_eq!(row(&png(deep)), expected);
    }
    // Of a transparent green nothing is seen, in no size.
    let green = RgbaImage::from_pixel(640, 640, Rgba([0, 255, 0, 0]));
    assert_eq!(decode(&png(green), &schema(8, 8, 3, Resize::Stretch)).unwrap(), [255.0; 192]);
}

#[test]
fn a_photograph_is_averaged_down() {
    // Stripes of a pixel, as no few pixels can show them.
    let stripes = GrayImage::from_fn(1000, 1000, |x, _| Luma([if x % 2 == 0 { 255 } else { 0 }]));
    let pixels = decode(&png(stripes), &grey(10)).unwrap();
    assert!(pixels.iter().all(|pixel| (pixel - 127.5).abs() < 2.0), "{pixels:?}");
    let small = decode(&png(slope(32, 32)), &schema(8, 8, 3, Resize::Stretch)).unwrap();
    let large = decode(&png(slope(1600, 1216)), &schema(8, 8, 3, Resize::Stretch)).unwrap();
    assert!(mean_difference(&small, &large) < 6.0);
    let up = decode(&png(slope(4, 4)), &grey(16)).unwrap();
    assert!(up[0] < up[15] && up[0] < up[240] && up[15] < up[255]);
}

#[test]
fn another_shape_is_stretched_fitted_or_cropped() {
    // Black, white and black again, each as wide as high.
    let image = GrayImage::from_fn(96, 32, |x, _| Luma([if x / 32 == 1 { 255 } else { 100 }]));
    let of = |resize| decode(&png(image.clone()), &schema(24, 24, 1, resize)).unwrap();
    let row = |pixels: &[f32], y: usize| pixels[y * 24..][..24].to_vec();
    let near = |a: f32, b: f32| (a - b).abs() < 3.0;

    let stretched = of(Resize::Stretch);
    for y in [0, 12, 23] {
        let row = row(&stretched, y);
        assert!(near(row[2], 100.0) && near(row[12], 255.0) && near(row[21], 100.0), "{row:?}");
    }
    let fitted = of(Resize::Fit);
    for y in [0, 7, 16, 23] {
        assert_eq!(row(&fitted, y), [0.0; 24], "black above and below");
    }
    let middle = row(&fitted, 12);
    assert!(near(middle[2], 100.0) && near(middle[12], 255.0) && near(middle[21], 100.0));
    let cropped = of(Resize::Crop);
    assert!(cropped.iter().all(|&pixel| near(pixel, 255.0)), "only the middle is left");

    let upright = DynamicImage::ImageLuma8(image.clone()).rotate90();
    let of = |resize| decode(&png(upright.clone()), &schema(24, 24, 1, resize)).unwrap();
    let fitted = of(Resize::Fit);
    assert!((0..24).all(|y| row(&fitted, y)[7] == 0.0 && row(&fitted, y)[16] == 0.0));
    assert!(of(Resize::Crop).iter().all(|&pixel| near(pixel, 255.0)));
}

#[test]
fn no_shape_is_too_odd() {
    for (width, height) in [(1, 1), (1, 3000), (3000, 1), (16_384, 1), (1, 16_384), (2, 255)] {
        let image = png(GrayImage::from_pixel(width, height, Luma([77])));
        for resize in [Resize::Stretch, Resize::Fit, Resize::Crop] {
            for (across, down) in [(8, 8), (256, 8), (8, 256), (256, 256)] {
                let pixels = decode(&image, &schema(across, down, 1, resize)).unwrap();
                assert_eq!(pixels.len(), across * down);
                assert!(pixels.contains(&77.0), "{width} × {height} to {across} × {down}");
            }
        }
    }
}

/// A JPEG whose camera says how it was held: an APP1 segment of Exif behind the first marker.
fn held(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let mut exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
    let length = (exif.len() as u16 + 2).to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, &exif, &jpeg[2..]].concat()
}

#[test]
fn a_picture_stands_as_its_camera_was_held() {
    for (width, height) in [(24, 16), (400, 240)] {
        let image = slope(width, height);
        let jpeg = file(image.clone(), ImageFormat::Jpeg);
        for resize in [Resize::Stretch, Resize::Fit, Resize::Crop] {
            let schema = schema(8, 16, 3, resize);
            for exif in 1..=8 {
                let mut upright = DynamicImage::ImageRgb8(image.clone());
                upright.apply_orientation(Orientation::from_exif(exif).unwrap());
                let expected = decode(&png(upright), &schema).unwrap();
                let pixels = decode(&held(&jpeg, exif), &schema).unwrap();
                let difference = mean_difference(&pixels, &expected);
                assert!(difference < 6.0, "{exif}, {width}, {resize:?}: {difference}");
            }
        }
    }
    let image = file(slope(8, 8), ImageFormat::Jpeg);
    let expected = decode(&image, &grey(8)).unwrap();
    assert_eq!(decode(&held(&image, 99), &grey(8)).unwrap(), expected, "nonsense is passed over");
}

/// A PNG of nothing but its header.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut png = png(GrayImage::new(1, 1));
    png[16..20].copy_from_slice(&width.to_be_bytes());
    png[20..24].copy_from_slice(&height.to_be_bytes());
    // The checksum of type and data: CRC-32 as zlib has it.
    let crc = png[12..29].iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    });
    png[29..33].copy_from_slice(&(!crc).to_be_bytes());
    png
}

#[test]
fn a_file_over_a_limit_is_refused_by_its_header() {
    for (file, expected) in [
        (vec![], "the image file is empty"),
        (vec![0; MAX_FILE_BYTES + 1], "the image file is over 16777216 bytes long"),
        (png_header(40_000, 40_000), "the image is 40000 × 40000 pixels, a side is 1 to 16384"),
        (
            png_header(16_384, 16_384),
            "the image is 16384 × 16384 pixels, which decode to 268435456 bytes, 134217728 is the \
             most; make it smaller",
        ),
        (png_header(1, 16_385), "the image is 1 × 16385 pixels, a side is 1 to 16384"),
    ] {
        assert_eq!(reason(&file), expected);
    }
    assert!(reason(&png_header(0, 5)).contains("damaged"));
    let mut gif = file(slope(4, 4), ImageFormat::Gif);
    gif[6..10].fill(0xff);
    assert_eq!(reason(&gif), "the image is 65535 × 65535 pixels, a side is 1 to 16384");
    gif[6..10].fill(0);
    assert_eq!(reason(&gif), "the image is 0 × 0 pixels, a side is 1 to 16384");
}

#[test]
fn what_is_no_image_is_told() {
    let no_image = "the file is no image by its first bytes: send PNG, JPEG, WebP, GIF or BMP";
    for file in [&b"hello"[..], b"\x00", b"%PDF-1.7", b"II*\0\x08\0\0\0", b"<svg></svg>"] {
        assert_eq!(reason(file), no_image);
    }
    for (format, name) in FORMATS {
        let magic = &file(slope(8, 8), format)[..12];
        let reason = reason(magic);
        assert!(reason.contains(name) && reason.contains("cut off"), "{reason}");
    }
}

#[test]
fn a_file_that_is_cut_off_is_no_image() {
    let noise = RgbImage::from_fn(40, 40, |x, y| {
        Rgb([(x * y * 7) as u8, ((x * 91) ^ (y * 57)) as u8, (x + y) as u8])
    });
    for (format, name) in FORMATS {
        let whole = file(noise.clone(), format);
        assert!(decode(&whole, &grey(8)).is_ok());
        for share in [20, 50, 80, 95] {
            let cut = &whole[..whole.len() * share / 100];
            assert!(decode(cut, &grey(8)).is_err(), "{name} at {share} %");
        }
    }
    // A preview inside has an end of its own.
    let jpeg = file(noise, ImageFormat::Jpeg);
    let preview = [&[0xff, 0xe1, 0, 6][..], &[0xff, 0xd8, 0xff, 0xd9]].concat();
    let jpeg = [&jpeg[..2], &preview, &jpeg[2..]].concat();
    assert!(decode(&jpeg, &grey(8)).is_ok());
    assert_eq!(reason(&jpeg[..jpeg.len() - 2]), "the JPEG is cut off: its end is missing");
}

#[test]
fn large_images_are_decoded_one_at_a_time_whatever_became_of_the_last_one() {
    let poisoned = std::thread::spawn(|| {
        let _turn = LARGE.lock();
        panic!("a decoder gave up");
    });
    assert!(poisoned.join().is_err());
    let image = png(RgbImage::from_pixel(2400, 2400, Rgb([9, 9, 9])));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| assert_eq!(decode(&image, &grey(8)).unwrap(), [9.0; 64]));
        }
    });
}

#[test]
fn pixels_are_whole_numbers_of_a_byte() {
    for good in [0.0, -0.0, 1.0, 128.0, 255.0] {
        assert!(is_pixel(good), "{good}");
    }
    for bad in [0.5, -1.0, 256.0, f32::NAN, f32::INFINITY, 254.9] {
        assert!(!is_pixel(bad), "{bad}");
    }
}

proptest! {
    #![proptest_config(cases::usually(256))]

    #[test]
    fn no_bytes_make_it_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        format in 0..FORMATS.len(),
    ) {
        let _ = pixels(&Budget::default(), &bytes, &grey(8));
        let begun = &file(slope(8, 8), FORMATS[format].0)[..8];
        let _ = decode(&[begun, &bytes].concat(), &grey(8));
    }

    #[test]
    fn no_damage_makes_it_panic(
        format in 0..FORMATS.len(),
        at in any::<prop::sample::Index>(),
        length in 0_usize..6,
        instead in prop::collection::vec(any::<u8>(), 0..6),
        channels in prop_oneof![Just(1), Just(3)],
    ) {
        let mut bytes = file(slope(20, 14), FORMATS[format].0);
        let from = at.index(bytes.len());
        let to = (from + length).min(bytes.len());
        bytes.splice(from..to, instead);
        for resize in [Resize::Stretch, Resize::Fit, Resize::Crop] {
            let schema = schema(8, 12, channels, resize);
            if let Ok(pixels) = decode(&bytes, &schema) {
                prop_assert_eq!(pixels.len(), schema.n_numbers());
                prop_assert!(pixels.iter().all(|&pixel| is_pixel(pixel)));
            }
        }
    }
}
