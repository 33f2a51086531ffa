//! The body that most predictions have, read in one pass: `{"inputs": [[0.5, 1.25], …]}`.
//!
//! serde finds the end of each value before its numbers are read into place, which takes about as long as to read
//! them. What is not as plain as this, or not right, is left to it: it knows what to say.

use serde::Deserialize;

use crate::domain::input::Inputs;

/// What a body says besides its inputs.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wishes {
    /// How many labels to name.
    pub(super) top_k: Option<usize>,
    /// Whether to remember the predictions.
    pub(super) remember: Option<bool>,
}

/// Reads a body that begins with `most` plain vectors at most, each as long as `inputs`' are, into `inputs`.
///
/// None where the body is another one, right or wrong; `inputs` may hold some of it then.
pub(super) fn read(body: &[u8], most: usize, inputs: &mut Inputs) -> Option<Wishes> {
    let mut vector = Vec::with_capacity(inputs.n_numeric());
    let mut rest = [&b"{"[..], b"\"inputs\"", b":"].into_iter().try_fold(body, after)?;
    let mut before = b"[";
    while let Some(behind) = after(rest, before).filter(|_| inputs.len() < most) {
        rest = vector_in(behind, inputs.n_numeric(), &mut vector)?;
        inputs.push(&vector, &[]);
        before = b",";
    }
    rest = after(rest, b"]")?;
    match after(rest, b",") {
        // After a comma a member must come: there is none in `{}`.
        Some(members) if after(members, b"\"").is_some() => {
            serde_json::from_slice(&[b"{", members].concat()).ok()
        }
        Some(_) => None,
        None => {
            after(rest, b"}").filter(|rest| trimmed(rest).is_empty()).map(|_| Wishes::default())
        }
    }
}

/// Reads the `n` numbers of the array that `json` begins with into `vector`; what is behind it.
fn vector_in<'a>(json: &'a [u8], n: usize, vector: &mut Vec<f32>) -> Option<&'a [u8]> {
    let mut rest = after(json, b"[")?;
    vector.clear();
    while vector.len() < n {
        if !vector.is_empty() {
            rest = after(rest, b",")?;
        }
        let (number, behind) = number_in(trimmed(rest))?;
        vector.push(number);
        rest = behind;
    }
    after(rest, b"]")
}

/// The finite number that `json` begins with, and what is behind it.
fn number_in(json: &[u8]) -> Option<(f32, &[u8])> {
    let (number, length) = fast_float2::parse_partial::<f32, _>(json).ok()?;
    let (written, behind) = json.split_at(length);
    (number.is_finite() && is_number(written)).then_some((number, behind))
}

/// Whether JSON writes numbers so: `+1`, `01`, `.5`, `5.` and `5.e1`, which others read, it does not.
fn is_number(written: &[u8]) -> bool {
    let digits = written.strip_prefix(b"-").unwrap_or(written);
    let begins_well = match digits {
        [b'0', next, ..] => !next.is_ascii_digit(),
        [first, ..] => first.is_ascii_digit(),
        [] => false,
    };
    let point = digits.iter().position(|&byte| byte == b'.');
    begins_well && point.is_none_or(|at| digits.get(at + 1).is_some_and(u8::is_ascii_digit))
}

/// What is behind `token`, where `json` begins with it.
fn after<'a>(json: &'a [u8], token: &[u8]) -> Option<&'a [u8]> {
    trimmed(json).strip_prefix(token)
}

/// `json` without the space that it begins with.
fn trimmed(json: &[u8]) -> &[u8] {
    let mut rest = json;
    while let [b' ' | b'\n' | b'\r' | b'\t', behind @ ..] = rest {
        rest = behind;
    }
    rest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;
    use serde_json::value::RawValue;

    use super::*;

    fn read(body: &[u8]) -> Option<(Vec<f32>, Wishes)> {
        let mut inputs = Inputs::with_shape(2, 0);
        let wishes = super::read(body, 3, &mut inputs)?;
        Some((inputs.all_numbers().to_vec(), wishes))
    }

    #[test]
    fn plain_vectors_are_read() {
        for (body, numbers, top_k, remember) in [
            ("{\"inputs\":[[0,-1.5]]}", &[0.0, -1.5][..], None, None),
            (
                " { \"inputs\" :\n[ [ 1e2 , 0.5E-1 ]\t,\r[3,4] ] } ",
                &[1e2, 0.05, 3.0, 4.0],
                None,
                None,
            ),
            ("{\"inputs\": [[1, 2]], \"top_k\": 3}", &[1.0, 2.0], Some(3), None),
            (
                "{\"inputs\": [[1, 2]] , \"remember\": true, \"top_k\": 1}",
                &[1.0, 2.0],
                Some(1),
                Some(true),
            ),
        ] {
            let expected = (numbers.to_vec(), Wishes { top_k, remember });
            assert_eq!(read(body.as_bytes()), Some(expected), "{body}");
        }
    }

    #[test]
    fn whatever_else_is_left_to_serde() {
        for body in [
            "",
            "{}",
            "{\"inputs\": []}",
            "{\"inputs\": [[]]}",
            "{\"inputs\": [[1]]}",
            "{\"inputs\": [[1, 2, 3]]}",
            "{\"inputs\": [[1, 2],]}",
            "{\"inputs\": [[1, 2] [3, 4]]}",
            "{\"inputs\": [[1, null]]}",
            "{\"inputs\": [[1, \"2\"]]}",
            "{\"inputs\": [[1, 2]]",
            "{\"inputs\": [[1, 2]]} 1",
            "{\"inputs\": [[1, 2]],}",
            "{\"inputs\": [[1, 2]], \"inputs\": [[1, 2]]}",
            "{\"inputs\": [[1, 2]], \"top_k\": -1}",
            "{\"top_k\": 1, \"inputs\": [[1, 2]]}",
            "{\"inputs\": [[1, 2], [1, 2], [1, 2], [1, 2]]}",
            "{\"inputs\": [[1, 1e999]]}",
            "{\"inputs\": [[1,\u{b}2]]}",
        ] {
            assert_eq!(read(body.as_bytes()), None, "{body}");
        }
        for number in [
            "+1", "01", "-01", ".5", "-.5", "5.", "5.e1", "1e", "inf", "NaN", "-", "0x1", "1_0",
            "--1",
        ] {
            assert_eq!(
                read(format!("{{\"inputs\": [[1, {number}]]}}").as_bytes()),
                None,
                "{number}"
            );
        }
    }

    /// The same by serde alone.
    fn slowly(body: &[u8]) -> Option<(Vec<f32>, Wishes)> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Whole<'a> {
            #[serde(borrow)]
            inputs: Vec<[&'a RawValue; 2]>,
            top_k: Option<usize>,
            remember: Option<bool>,
        }
        let Whole { inputs, top_k, remember } = serde_json::from_slice(body).ok()?;
        let numbers = inputs.iter().flatten().map(|number| number.get().parse().ok());
        Some((numbers.collect::<Option<_>>()?, Wishes { top_k, remember }))
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_serde_reads(
            numbers in prop::collection::vec("-?(0|[1-9][0-9]{0,9})(\\.[0-9]{1,12})?([eE][+-]?[0-9])?", 2..=6),
            wishes in prop::sample::select(vec!["", ",\"top_k\":2", ", \"remember\": false"]),
            spoilt in prop::option::of((any::<Index>(), any::<u8>())),
        ) {
            let vectors: Vec<String> =
                numbers.chunks_exact(2).map(|pair| format!("[{}, {}]", pair[0], pair[1])).collect();
            let mut body = format!("{{\"inputs\": [{}]{wishes}}}", vectors.join(",")).into_bytes();
            match spoilt {
                None => prop_assert_eq!(read(&body), slowly(&body)),
                Some((at, byte)) => {
                    let at = at.index(body.len());
                    body[at] = byte;
                    if let Some(read) = read(&body) {
                        prop_assert_eq!(Some(read), slowly(&body));
                    }
                }
            }
        }
    }
}
