//! Bodies of files that are damaged, or none.

use proptest::prelude::*;

use super::Unreadable;
use super::file_tests::{BOUNDARY, end, malformed, part, parts, png, tar, untarred, unzipped, zip};
use crate::domain::cases;

#[test]
fn a_body_that_is_none_is_told() {
    let one = part("cat", "1.png", &png(1));
    let cut_off =
        "the multipart body is cut off, or not divided by the boundary that Content-Type names";
    for body in [&b""[..], b"{}", b"--other\r\n\r\n", &one, &one[..one.len() - 9]] {
        assert_eq!(malformed(parts(body)), cut_off, "{body:?}");
    }
    let endless = [one.clone(), format!("--{BOUNDARY}\r\n").into(), vec![b'x'; 3 << 20]].concat();
    assert_eq!(malformed(parts(&endless)), "the headers of a part have no end");
    let odd = format!("--{BOUNDARY}\r\nno header\r\n\r\nx\r\n--{BOUNDARY}--");
    assert!(malformed(parts(odd.as_bytes())).contains("whose headers cannot be read"));
    assert!(parts(&end()).unwrap().samples.is_empty(), "no parts are no samples");

    let archive = zip(&[("cat/1.png", &png(1))]);
    for body in [&b""[..], b"PK", &archive[..archive.len() - 30], &[0; 1000]] {
        assert_eq!(
            malformed(unzipped(body)),
            "the body is no ZIP archive, or it is cut off or damaged"
        );
    }
    assert!(unzipped(&zip(&[])).unwrap().samples.is_empty());

    let archive = tar(&[("cat/1.png", &png(1))]);
    for body in [&[b'x'; 1024][..], &archive[..100], &archive[..520], &archive[..560]] {
        let why = "the body is no tar archive, or it is cut off or damaged";
        assert_eq!(malformed(untarred(body)), why);
    }
    assert!(untarred(&[0; 1024]).unwrap().samples.is_empty());
    // A name may be long, and not endless.
    let name = format!("cat/{}", "x".repeat(3 << 20));
    let why = malformed(untarred(&tar(&[(&name, b"x")])));
    assert_eq!(why, "the tar archive says too much before a file");
}

proptest! {
    #![proptest_config(cases::usually(128))]

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let _ = parts(&bytes);
        let _ = unzipped(&bytes);
        let _ = untarred(&bytes);
    }

    #[test]
    fn no_damage_makes_a_reader_panic(
        at in any::<prop::sample::Index>(),
        length in 0_usize..8,
        instead in prop::collection::vec(any::<u8>(), 0..8),
    ) {
        let (one, two) = (png(1), png(2));
        let files: [(&str, &[u8]); 2] = [("cat/1.png", &one), ("dog/2.png", &two)];
        let form = [part("cat", "1.png", &one), part("dog", "2.png", &two), end()].concat();
        let damaged = |mut body: Vec<u8>| {
            let from = at.index(body.len());
            let to = (from + length).min(body.len());
            body.splice(from..to, instead.iter().copied());
            body
        };
        for read in [
            parts(&damaged(form)),
            unzipped(&damaged(zip(&files))),
            untarred(&damaged(tar(&files))),
        ] {
            let is_about_the_body =
                matches!(read, Ok(_) | Err(Unreadable::Malformed(_) | Unreadable::Invalid(_)));
            prop_assert!(is_about_the_body, "{:?}", read.err());
        }
    }
}
