//! Batches of files: multipart bodies, ZIP and tar archives, against each other and against what a
//! client may make of them.

use std::io::{Cursor, Read, Write};

use ::image::{GrayImage, ImageFormat, Luma};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::format_tests::{Batch, gather};
use super::{Expected, Unreadable};
use crate::domain::image::{Budget, MAX_FILE_BYTES};
use crate::domain::settings::Missing;
use crate::http::{archives, json, multipart};

pub(super) const BOUNDARY: &str = "----a.boundary";

fn images() -> Expected {
    let schema = serde_json::json!({"kind": "image", "width": 8, "height": 8, "channels": 1});
    Expected::new(serde_json::from_value(schema).unwrap(), Missing::Reject)
}

/// An even grey.
pub(super) fn png(level: u8) -> Vec<u8> {
    let mut png = Vec::new();
    let image = GrayImage::from_pixel(8, 8, Luma([level]));
    image.write_to(&mut Cursor::new(&mut png), ImageFormat::Png).unwrap();
    png
}

/// A part as curl sends it.
pub(super) fn part(label: &str, name: &str, file: &[u8]) -> Vec<u8> {
    let head = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{label}\"; filename=\"{name}\"\r\n\
         Content-Type: image/png\r\n\r\n"
    );
    [head.as_bytes(), file, b"\r\n"].concat()
}

pub(super) fn end() -> Vec<u8> {
    format!("--{BOUNDARY}--\r\n").into_bytes()
}

pub(super) fn parts(body: &[u8]) -> Result<Batch, Unreadable> {
    gather(&images(), |gatherer| multipart::read_parts(body, BOUNDARY, gatherer))
}

pub(super) fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, file) in files {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        match name.ends_with('/') {
            true => zip.add_directory(*name, options).unwrap(),
            false => zip.start_file(*name, options).unwrap(),
        }
        zip.write_all(file).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// What unpacks to 40 MiB at most.
pub(super) fn unzipped(body: &[u8]) -> Result<Batch, Unreadable> {
    gather(&images(), |gatherer| archives::read_zip(Cursor::new(body), 40 << 20, gatherer))
}

pub(super) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, file) in files {
        let mut header = header(file.len());
        if name.ends_with('/') {
            header.set_entry_type(tar::EntryType::Directory);
        }
        if name.len() > 99 {
            tar.append_data(&mut header, name, *file).unwrap();
            continue;
        }
        // Written as it is: the crate would refuse to write what it is to be asked to read.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        tar.append(&header, *file).unwrap();
    }
    tar.into_inner().unwrap()
}

fn header(size: usize) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(size as u64);
    header.set_mode(0o644);
    header.set_entry_type(tar::EntryType::Regular);
    header
}

pub(super) fn untarred(body: &[u8]) -> Result<Batch, Unreadable> {
    gather(&images(), |gatherer| archives::read_tar(body, gatherer))
}

fn labels(batch: &Batch) -> Vec<&str> {
    batch.samples.labels.iter().map(|label| label.as_str()).collect()
}

/// The level of each image.
fn levels(batch: &Batch) -> Vec<f32> {
    (0..batch.samples.len()).map(|i| batch.samples.inputs.numbers(i)[0]).collect()
}

fn reasons(batch: &Batch) -> Vec<(u64, &str)> {
    batch.rejections.iter().map(|(index, reason)| (*index, reason.as_str())).collect()
}

pub(super) fn malformed(read: Result<Batch, Unreadable>) -> String {
    match read {
        Err(Unreadable::Malformed(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_format_of_files_says_the_same() {
    let (one, two, three) = (png(1), png(2), png(3));
    let files: [(&str, &[u8]); 4] = [
        ("cat/1.png", &one),
        ("train/dog/a b.png", &two),
        ("./cat/3", &three),
        ("Ärger/Füße.png", b"no image"),
    ];
    let form = [
        part("cat", "1.png", &one),
        part("dog", "a b.png", &two),
        part("cat", "", &three),
        part("Ärger", "Füße.png", b"no image"),
        end(),
    ];
    let batches = [
        (parts(&form.concat()).unwrap(), "Füße.png"),
        (unzipped(&zip(&files)).unwrap(), "Ärger/Füße.png"),
        (untarred(&tar(&files)).unwrap(), "Ärger/Füße.png"),
    ];
    for (batch, name) in batches {
        assert_eq!(labels(&batch), ["cat", "dog", "cat"]);
        assert_eq!(levels(&batch), [1.0, 2.0, 3.0]);
        let no_image = "the file is no image by its first bytes: send PNG, JPEG, WebP, GIF or BMP";
        assert_eq!(reasons(&batch), [(3, format!("{name}: {no_image}").as_str())]);
    }
}

#[test]
fn what_is_no_sample_is_passed_over_and_what_cannot_be_one_is_told() {
    let one = png(1);
    let files: [(&str, &[u8]); 11] = [
        ("cat/", b""),
        ("cat/.DS_Store", b"x"),
        ("__MACOSX/cat/._1.png", b"x"),
        ("__MACOSX/cat/1.png", b"x"),
        ("top.png", &one),
        ("../cat/1.png", &one),
        ("a/../../cat/1.png", &one),
        ("/etc/cat/1.png", &one),
        (&format!("{}/1.png", "x".repeat(257)), &one),
        (&format!("{}/cat/1.png", "deep/".repeat(40)), &one),
        ("cat/empty.png", b""),
    ];
    let out = "its path leads out of the archive";
    let long = "x".repeat(256);
    let expected = [
        (0, "top.png: it has no folder that would name its label".to_owned()),
        (1, format!("../cat/1.png: {out}")),
        (2, format!("a/../../cat/1.png: {out}")),
        (3, format!("/etc/cat/1.png: {out}")),
        (4, format!("{long}…: label is 257 bytes long, 256 is the most")),
        (6, "cat/empty.png: the image file is empty".to_owned()),
    ];
    for batch in [unzipped(&zip(&files)).unwrap(), untarred(&tar(&files)).unwrap()] {
        assert_eq!(labels(&batch), ["cat"]);
        assert_eq!(batch.rejections, expected);
    }
    // Written on Windows, by some.
    let batch = unzipped(&zip(&[("train\\dog\\1.png", &one)])).unwrap();
    assert_eq!(labels(&batch), ["dog"]);
    let nameless = format!("--{BOUNDARY}\r\nContent-Disposition: form-data\r\n\r\nx\r\n");
    let batch = parts(&[nameless.into_bytes(), end()].concat()).unwrap();
    let reason = "the part has no name in its Content-Disposition, which would be its label";
    assert_eq!(reasons(&batch), [(0, reason)]);
}

#[test]
fn an_entry_that_is_no_plain_file_is_rejected() {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind) in [
        ("cat/link", tar::EntryType::Symlink),
        ("cat/hard", tar::EntryType::Link),
        ("cat/device", tar::EntryType::Block),
        ("cat/pipe", tar::EntryType::Fifo),
    ] {
        let mut header = header(0);
        header.set_entry_type(kind);
        header.set_path(name).unwrap();
        header.set_link_name("/etc/passwd").unwrap();
        header.set_cksum();
        builder.append(&header, &[][..]).unwrap();
    }
    let batch = untarred(&builder.into_inner().unwrap()).unwrap();
    let (link, other) = ("it is a link, not a file", "it is no plain file");
    assert_eq!(
        batch.rejections,
        [
            (0, format!("cat/link: {link}")),
            (1, format!("cat/hard: {link}")),
            (2, format!("cat/device: {other}")),
            (3, format!("cat/pipe: {other}")),
        ]
    );

    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.add_symlink("cat/link", "/etc/passwd", SimpleFileOptions::default()).unwrap();
    zip.start_file("cat/1.png", SimpleFileOptions::default()).unwrap();
    zip.write_all(&png(1)).unwrap();
    let body = zip.finish().unwrap().into_inner();
    let batch = unzipped(&body).unwrap();
    assert_eq!(batch.rejections, [(0, format!("cat/link: {link}"))]);
    assert_eq!(labels(&batch), ["cat"]);

    // Of the second entry, in the directory at the end: its flags, then its method.
    let directory = body.windows(4).rposition(|four| four == b"PK\x01\x02").unwrap();
    let with = |offset: usize, value: u8| {
        let mut changed = body.clone();
        changed[directory + offset] = value;
        unzipped(&changed).unwrap().rejections[1].1.clone()
    };
    assert_eq!(with(8, 1), "cat/1.png: it is encrypted");
    let method = "it is packed in a way that is not taken here: deflate it, or only store it";
    assert_eq!(with(10, 14), format!("cat/1.png: {method}"));
    assert_eq!(with(16, 77), "cat/1.png: it is damaged in the archive", "by its checksum");
}

#[test]
fn a_file_too_long_is_rejected_and_what_follows_is_read() {
    let long = vec![0; MAX_FILE_BYTES + 100_000];
    let one = png(1);
    let files: [(&str, &[u8]); 2] = [("cat/bomb.png", &long), ("dog/1.png", &one)];
    let archive = zip(&files);
    assert!(archive.len() < 50_000, "a bomb is small: {}", archive.len());
    let form = [part("cat", "cat/bomb.png", &long), part("dog", "", &one), end()].concat();
    for batch in
        [unzipped(&archive).unwrap(), untarred(&tar(&files)).unwrap(), parts(&form).unwrap()]
    {
        let reason = "cat/bomb.png: the image file is over 16777216 bytes long";
        assert_eq!(reasons(&batch), [(0, reason)]);
        assert_eq!(labels(&batch), ["dog"]);
    }
}

#[test]
fn an_archive_that_unpacks_to_too_much_is_no_batch() {
    let long = vec![0; MAX_FILE_BYTES];
    let files: [(&str, &[u8]); 3] = [("a/1", &long), ("a/2", &long), ("a/3", &long)];
    match unzipped(&zip(&files)) {
        Err(Unreadable::Invalid(invalid)) => assert_eq!(
            invalid.detail,
            "the archive unpacks to more than 41943040 bytes; send it in parts"
        ),
        other => panic!("{other:?}"),
    }
    assert_eq!(unzipped(&zip(&files[..2])).unwrap().rejections.len(), 2);
}

#[test]
fn images_that_decode_to_too_much_together_are_no_batch() {
    let (one, two, three) = (png(1), png(2), png(3));
    let files: [(&str, &[u8]); 3] = [("a/1", &one), ("a/2", &two), ("a/3", &three)];
    let (archive, stream) = (zip(&files), tar(&files));
    let form = [part("a", "1", &one), part("a", "2", &two), part("a", "3", &three), end()].concat();
    let sample = |file: &[u8]| serde_json::json!({"input": STANDARD.encode(file), "label": "a"});
    let samples = [&one, &two, &three].map(|file| sample(file));
    let lines: String = samples.iter().map(|sample| format!("{sample}\n")).collect();
    let document = serde_json::json!({"samples": samples}).to_string();
    let read = |budget: i64| {
        // Each reader has a budget of its own.
        let expected = || Expected { budget: Budget::of(budget), ..images() };
        [
            gather(&expected(), |gatherer| multipart::read_parts(&form[..], BOUNDARY, gatherer)),
            gather(&expected(), |gatherer| {
                archives::read_zip(Cursor::new(&archive), 40 << 20, gatherer)
            }),
            gather(&expected(), |gatherer| archives::read_tar(&stream[..], gatherer)),
            gather(&expected(), |gatherer| json::read_document(document.as_bytes(), gatherer)),
            gather(&expected(), |gatherer| json::read_lines(lines.as_bytes(), gatherer)),
        ]
    };
    // 64 pixels of a byte each.
    for batch in read(3 * 64) {
        assert_eq!(levels(&batch.unwrap()), [1.0, 2.0, 3.0]);
    }
    for batch in read(3 * 64 - 1) {
        match batch {
            Err(Unreadable::Invalid(invalid)) => assert_eq!(
                invalid.detail,
                "the images decode to more than 191 bytes, all together; send them in parts"
            ),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn files_that_lie_over_one_another_are_no_batch() {
    // Every entry of the directory points at the same bytes.
    let body = zip(&[("cat/1.png", &png(1))]);
    let directory = body.windows(4).rposition(|four| four == b"PK\x01\x02").unwrap();
    let end = body.windows(4).rposition(|four| four == b"PK\x05\x06").unwrap();
    let entry = &body[directory..end];
    let mut end = body[end..].to_vec();
    let n: u16 = 1000;
    end[8..10].copy_from_slice(&n.to_le_bytes());
    end[10..12].copy_from_slice(&n.to_le_bytes());
    end[12..16].copy_from_slice(&(entry.len() as u32 * u32::from(n)).to_le_bytes());
    let body = [&body[..directory], &entry.repeat(n.into()), &end].concat();
    // A few may: as much is read as there is.
    match unzipped(&body) {
        Err(Unreadable::Invalid(invalid)) => {
            assert_eq!(invalid.detail, "the files of the archive lie over one another");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_hundred_thousand_tiny_parts_are_read_one_by_one() {
    const PARTS: usize = 100_000;
    let form = part("cat", "", b"x").repeat(PARTS);
    let whole = form.as_slice().chain(Cursor::new(end()));
    let batch =
        gather(&images(), |gatherer| multipart::read_parts(whole, BOUNDARY, gatherer)).unwrap();
    assert_eq!(batch.rejections.len(), PARTS);
    assert_eq!(batch.rejections[PARTS - 1].0, PARTS as u64 - 1);
}

/// Tells whoever reads it how far ahead of the samples it is read.
struct Ahead<'a> {
    body: &'a [u8],
    taken: &'a std::sync::atomic::AtomicUsize,
}

impl Read for Ahead<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n_read = self.body.read(buffer)?;
        self.taken.fetch_add(n_read, std::sync::atomic::Ordering::Relaxed);
        Ok(n_read)
    }
}

#[test]
fn parts_are_not_taken_in_before_their_time() {
    let taken = std::sync::atomic::AtomicUsize::new(0);
    let body = part("cat", "", b"x").repeat(10_000);
    let body = Ahead { body: &body, taken: &taken };
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    drop(receiver);
    let gatherer = super::Gatherer::new(images(), sender);
    // Nobody takes the first chunk of 1,000: reading ends there.
    let outcome = multipart::read_parts(body, BOUNDARY, gatherer);
    assert!(matches!(outcome, Err(Unreadable::GivenUp)));
    let taken = taken.into_inner();
    let needed = part("cat", "", b"x").len() * 1000;
    assert!(taken < needed + (128 << 10), "{taken} bytes were read for {needed}");
}
