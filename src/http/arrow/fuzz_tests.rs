//! Whatever comes as an Arrow stream: the same rows however it is cut, and inputs or a refusal, whichever of its
//! bytes are others.

use std::convert::Infallible;
use std::sync::LazyLock;

use arrow_array::{Float64Array, Int8Array};
use arrow_ipc::writer::IpcWriteOptions;
use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use proptest::prelude::*;

use super::format_tests::{
    IMAGE, ROW, TEXT, VECTOR, batch, column, files, lists, read, settings, stream as stream_of,
    texts,
};
use super::*;
use crate::domain::cases;
use crate::domain::input::Inputs;

/// Streams of every type, and for which model they are.
static STREAMS: LazyLock<Vec<(&str, Vec<u8>)>> = LazyLock::new(|| {
    let of = |columns: &[_]| {
        let rows = batch(columns);
        stream_of(&[rows.clone(), rows.slice(1, 1), rows], IpcWriteOptions::default())
    };
    let numbers = column(Float64Array::from(vec![Some(0.5), None, Some(2.0)]));
    let ages = column(Int8Array::from(vec![1, 2, 3, 4]));
    let vectors = of(&[("a", numbers.clone()), ("b", numbers)]);
    let lists = lists().into_iter().map(|lists| (VECTOR, of(&[("x", lists)])));
    let rows =
        texts().into_iter().map(|texts| (ROW, of(&[("age", ages.clone()), ("city", texts)])));
    let texts = texts().into_iter().map(|texts| (TEXT, of(&[("text", texts.slice(0, 2))])));
    let files = files().into_iter().map(|files| (IMAGE, of(&[("image", files)])));
    [(VECTOR, vectors)].into_iter().chain(lists).chain(rows).chain(texts).chain(files).collect()
});

fn read_of(body: Body, input: &str) -> Result<(Inputs, Option<crate::domain::Invalid>), Problem> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(read(body, &settings(input)))
}

/// Checks that there are as many values as inputs, or that the client is told.
fn check(bytes: Vec<u8>, input: &str) -> Result<(), TestCaseError> {
    // A row takes a bit at least.
    let most = bytes.len() * 8;
    match read_of(Body::from(bytes), input) {
        Ok((inputs, _)) => {
            let schema = settings(input).input;
            prop_assert!(inputs.len() <= most);
            prop_assert_eq!(inputs.all_numbers().len(), inputs.len() * schema.n_numeric());
            prop_assert_eq!(inputs.all_categories().len(), inputs.len() * schema.n_categorical());
        }
        Err(problem) => prop_assert!(!problem.code().status().is_server_error(), "{}", problem),
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases::usually(1024))]

    #[test]
    fn damaged_streams_are_inputs_or_are_refused(
        which in any::<prop::sample::Index>(),
        damage in prop::collection::vec(cases::damage(), 1..3),
    ) {
        let (input, bytes) = which.get(&STREAMS);
        let bytes = damage.iter().fold(bytes.clone(), cases::damaged);
        check(bytes, input)?;
    }

    #[test]
    fn lengths_that_lie_are_refused_or_do_no_harm(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        number in prop_oneof![
            Just(-1_i64), Just(i64::MIN), Just(i64::MAX), Just(1 << 32), Just(1 << 61), -70_i64..70,
        ],
        is_long in any::<bool>(),
    ) {
        let (input, bytes) = which.get(&STREAMS);
        let mut bytes = bytes.clone();
        let (at, n_bytes) = (at.index(bytes.len() / 4 - 1) * 4, if is_long { 8 } else { 4 });
        bytes[at..at + n_bytes].copy_from_slice(&number.to_le_bytes()[..n_bytes]);
        check(bytes, input)?;
    }

    #[test]
    fn any_bytes_are_refused_or_are_inputs(
        bytes in prop::collection::vec(prop_oneof![1 => Just(0_u8), 1 => Just(0xff), 1 => any::<u8>()], 0..80),
    ) {
        for input in [VECTOR, ROW, TEXT, IMAGE] {
            check(bytes.clone(), input)?;
        }
    }

    #[test]
    fn rows_are_the_same_however_a_body_is_cut(
        which in any::<prop::sample::Index>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let (input, bytes) = which.get(&STREAMS);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces: Vec<Result<Bytes, Infallible>> =
            cuts.windows(2).map(|cut| Ok(Bytes::copy_from_slice(&bytes[cut[0]..cut[1]]))).collect();
        let (whole, refusal) = read_of(Body::from(bytes.clone()), input).unwrap();
        prop_assert_eq!(refusal, None);
        let (cut, _) = read_of(Body::from_stream(stream::iter(pieces)), input).unwrap();
        let bits = |inputs: &Inputs| inputs.all_numbers().iter().map(|n| n.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&cut), bits(&whole));
        prop_assert_eq!(cut.all_categories(), whole.all_categories());
    }
}
