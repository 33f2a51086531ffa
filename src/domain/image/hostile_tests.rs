//! Animations, of which the first frame counts, and files that say of themselves what is not so.

use std::io::Cursor;

use ::image::codecs::gif::GifEncoder;
use ::image::{Frame, GrayImage, Luma, Rgb, RgbImage, Rgba, RgbaImage};

use super::*;

fn grey(side: usize) -> ImageSchema {
    ImageSchema { width: side, height: side, channels: 1, resize: Resize::Stretch }
}

fn reason(file: &[u8]) -> String {
    decode(file, &grey(8)).unwrap_err().detail
}

fn file(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    image.into().write_to(&mut Cursor::new(&mut bytes), format).unwrap();
    bytes
}

/// A GIF of one pixel's data, whatever size it says that its frame has.
fn gif(canvas: [u16; 2], frame: [u16; 2]) -> Vec<u8> {
    let [width, height] = canvas.map(u16::to_le_bytes);
    let [across, down] = frame.map(u16::to_le_bytes);
    let colours = [0x80, 0, 0, 255, 255, 255, 0, 0, 0];
    let begin = [0x2c, 0, 0, 0, 0];
    let pixel = [0, 2, 2, 0x44, 1, 0, 0x3b];
    [&b"GIF89a"[..], &width, &height, &colours, &begin, &across, &down, &pixel].concat()
}

/// A chunk of a PNG, with its checksum: CRC-32 as zlib has it.
fn png_chunk(name: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let body = [&name[..], data].concat();
    let crc = body.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    });
    [&(data.len() as u32).to_be_bytes()[..], &body, &(!crc).to_be_bytes()].concat()
}

/// The data of a PNG's one picture.
fn picture_of(png: &[u8]) -> &[u8] {
    let at = png.windows(4).position(|name| name == b"IDAT").unwrap();
    let length = u32::from_be_bytes(png[at - 4..at].try_into().unwrap()) as usize;
    &png[at + 4..][..length]
}

/// The same PNG with more behind its header, which takes 33 bytes.
fn png_with(png: &[u8], chunks: &[u8]) -> Vec<u8> {
    [&png[..33], chunks, &png[33..]].concat()
}

/// A chunk of a WebP.
fn webp_chunk(name: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let odd = &[0][..data.len() % 2];
    [&name[..], &(data.len() as u32).to_le_bytes(), data, odd].concat()
}

fn webp(chunks: &[Vec<u8>]) -> Vec<u8> {
    let chunks = chunks.concat();
    [&b"RIFF"[..], &(chunks.len() as u32 + 4).to_le_bytes(), b"WEBP", &chunks].concat()
}

/// A size as WebP has it: 24 bits a side.
fn webp_size(width: u32, height: u32) -> [u8; 6] {
    let [a, b, c, _] = (width - 1).to_le_bytes();
    let [d, e, f, _] = (height - 1).to_le_bytes();
    [a, b, c, d, e, f]
}

/// The header of a WebP of several chunks.
fn extended(flags: u8, width: u32, height: u32) -> Vec<u8> {
    webp_chunk(b"VP8X", &[&[flags, 0, 0, 0][..], &webp_size(width, height)].concat())
}

/// The chunk of a lossless picture, as it stands in a file of its own.
fn lossless(image: RgbImage) -> Vec<u8> {
    file(image, ImageFormat::WebP)[12..].to_vec()
}

fn webp_frame(width: u32, height: u32, pictures: &[u8]) -> Vec<u8> {
    let place_and_size = [[0; 6], webp_size(width, height)].concat();
    // It lasts a moment, and lies over nothing.
    webp_chunk(b"ANMF", &[&place_and_size[..], &[9, 0, 0, 2], pictures].concat())
}

fn animation(width: u32, height: u32, frames: &[Vec<u8>]) -> Vec<u8> {
    const ANIMATED: u8 = 2;
    let begin = [extended(ANIMATED, width, height), webp_chunk(b"ANIM", &[0; 6])];
    webp(&[&begin[..], frames].concat())
}

/// The chunk of a lossy picture that says its size, and then nothing.
fn lossy(width: u16, height: u16) -> Vec<u8> {
    let [width, height] = [width, height].map(u16::to_le_bytes);
    let said = [&[0x10, 0, 0, 0x9d, 1, 0x2a][..], &width, &height, &[0; 16]].concat();
    webp_chunk(b"VP8 ", &said)
}

fn even(level: u8) -> RgbImage {
    RgbImage::from_pixel(8, 8, Rgb([level; 3]))
}

#[test]
fn an_animated_webp_is_its_first_frame() {
    let frames = [200, 10, 90].map(|level| webp_frame(8, 8, &lossless(even(level))));
    assert_eq!(decode(&animation(8, 8, &frames), &grey(8)).unwrap(), [200.0; 64]);
}

#[test]
fn an_animated_png_is_its_first_frame() {
    let [first, second] =
        [200, 10].map(|level| file(GrayImage::from_pixel(8, 8, Luma([level])), ImageFormat::Png));
    let number = |number: u32| number.to_be_bytes();
    let control = png_chunk(b"acTL", &[number(2), number(0)].concat());
    let frame = |sequence: u32| {
        let [n, side, zero] = [sequence, 8, 0].map(number);
        png_chunk(
            b"fcTL",
            &[&[n, side, side, zero, zero].concat()[..], &[0, 1, 0, 9, 0, 0]].concat(),
        )
    };
    let more = png_chunk(b"fdAT", &[&number(2)[..], picture_of(&second)].concat());
    let animated = png_with(&first, &[control, frame(0)].concat());
    let (rest, end) = animated.split_at(animated.len() - 12);
    let animated = [rest, &frame(1), &more, end].concat();
    assert_eq!(decode(&animated, &grey(8)).unwrap(), [200.0; 64]);
    // One that is none to whoever knows no animations: what comes first is not of it.
    let control = png_chunk(b"acTL", &[number(1), number(0)].concat());
    let (rest, end) = first.split_at(first.len() - 12);
    let apart = [
        png_with(rest, &control),
        frame(0),
        png_chunk(b"fdAT", &[&number(1)[..], picture_of(&second)].concat()),
        end.to_vec(),
    ]
    .concat();
    assert_eq!(decode(&apart, &grey(8)).unwrap(), [200.0; 64]);
}

#[test]
fn a_gif_of_many_frames_is_its_first() {
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new(&mut bytes);
    for frame in 0..2_000_u32 {
        let level = if frame == 0 { 200 } else { 10 };
        let image = RgbaImage::from_pixel(8, 8, Rgba([level, level, level, 255]));
        encoder.encode_frame(Frame::new(image)).unwrap();
    }
    drop(encoder);
    assert_eq!(decode(&bytes, &grey(8)).unwrap(), [200.0; 64]);
}

#[test]
fn a_frame_beyond_its_canvas_is_cut_to_it_where_it_is_not_large() {
    let image = RgbImage::from_fn(16, 16, |x, y| Rgb([if x < 8 && y < 8 { 200 } else { 10 }; 3]));
    let mut gif_of_16 = file(image, ImageFormat::Gif);
    gif_of_16[6..10].copy_from_slice(&[8, 0, 8, 0]);
    assert_eq!(decode(&gif_of_16, &grey(8)).unwrap(), [200.0; 64]);
    assert_eq!(decode(&gif([8, 8], [1, 1]), &grey(8)).unwrap().len(), 64);
    for side in [4_096, u16::MAX] {
        let reason = reason(&gif([8, 8], [side, side]));
        assert_eq!(reason, "the GIF takes too much memory; make it smaller");
    }
}

/// What zlib packs so many runs of 258 zeros into, and one zero before them: a block of fixed codes.
fn packed_zeros(n_runs: usize) -> Vec<u8> {
    let mut packed = vec![0x78, 0x01];
    let (mut bits, mut n_bits) = (0_u32, 0);
    let mut push = |code: u32, length: u32, packed: &mut Vec<u8>| {
        bits |= code << n_bits;
        n_bits += length;
        while n_bits >= 8 {
            packed.push(bits as u8);
            bits >>= 8;
            n_bits -= 8;
        }
    };
    // The last block; of fixed codes; a zero.
    push(1, 1, &mut packed);
    push(1, 2, &mut packed);
    push(0x0c, 8, &mut packed);
    for _ in 0..n_runs {
        // 258 bytes, from one byte before.
        push(0xa3, 8, &mut packed);
        push(0, 5, &mut packed);
    }
    // The end, and what fills the last byte.
    push(0, 7, &mut packed);
    push(0, 7, &mut packed);
    let n = (1 + 258 * n_runs) as u32;
    packed.extend((((n % 65_521) << 16) | 1).to_be_bytes());
    packed
}

#[test]
fn a_profile_of_colours_takes_no_more_than_a_small_image() {
    let image = file(GrayImage::from_pixel(8, 8, Luma([7])), ImageFormat::Png);
    let profiled = |n_runs: usize| {
        let profile = [&b"bomb\0\0"[..], &packed_zeros(n_runs)].concat();
        png_with(&image, &png_chunk(b"iCCP", &profile))
    };
    let kept = |file: &[u8]| open(file, ImageFormat::Png).unwrap().icc_profile().unwrap();
    assert_eq!(kept(&profiled(10)).map(|profile| profile.len()), Some(2_581));
    let bomb = profiled((2 * LARGE_BYTES as usize) / 258 + 1);
    assert!(bomb.len() < 300_000, "a bomb is small: {}", bomb.len());
    assert_eq!(kept(&bomb), None);
    // Nobody needs it.
    assert_eq!(decode(&bomb, &grey(8)).unwrap(), [7.0; 64]);
}

#[test]
fn a_webp_whose_sizes_differ_is_refused_before_it_is_decoded() {
    let other = "the WebP has a picture of 16383 × 16383 pixels where it says 8 × 8";
    let large = lossy(16_383, 16_383);
    for (file, expected) in [
        (webp(&[extended(0, 8, 8), large.clone()]), other),
        (animation(8, 8, &[webp_frame(8, 8, &large)]), other),
        // Behind the alpha channel of a frame, where the decoder compares nothing.
        (
            animation(8, 8, &[webp_frame(8, 8, &[webp_chunk(b"ALPH", &[0; 65]), large].concat())]),
            other,
        ),
        (
            animation(8, 8, &[webp_frame(16, 8, &lossy(16, 8))]),
            "the WebP has a frame that is larger than its canvas",
        ),
        (
            webp(&[extended(0, 9, 8), lossless(even(7))]),
            "the WebP has a picture of 8 × 8 pixels where it says 9 × 8",
        ),
    ] {
        assert_eq!(reason(&file), expected);
    }
    let whole = webp(&[extended(0, 8, 8), lossless(even(7))]);
    assert_eq!(decode(&whole, &grey(8)).unwrap(), [7.0; 64]);
}

#[test]
fn a_webp_that_names_more_bytes_than_there_are_is_cut_off() {
    const WITH_EXIF: u8 = 8;
    // Room for four gigabytes would be made, to ask how the camera was held.
    let endless = [&b"EXIF"[..], &[0xf0, 0xff, 0xff, 0xff, 0]].concat();
    let file = webp(&[extended(WITH_EXIF, 8, 8), lossless(even(7)), endless]);
    assert_eq!(reason(&file), "the WebP is cut off or damaged");
}

#[test]
fn a_large_image_may_take_twice_what_it_decodes_to_when_it_is_its_turn() {
    // A canvas of 16 MiB and a bit, and a frame beyond it that a small one might not have.
    let file = gif([2_100, 2_100], [3_000, 3_000]);
    assert_eq!(reason(&file), "the GIF is cut off or damaged", "for the lack of pixels");
}
