//! Whatever comes as a stream of lines: the same lines however it is cut, and an input or a refusal each.

use std::convert::Infallible;

use futures_util::stream;
use proptest::prelude::*;

use super::*;
use crate::domain::cases;

fn settings() -> Vec<ModelSettings> {
    [
        r#"{"kind": "tabular", "dim": 2}"#,
        r#"{"kind": "tabular", "features": [{"name": "input", "type": "categorical"}]}"#,
        r#"{"kind": "text"}"#,
        r#"{"kind": "image", "width": 8, "height": 8, "channels": 1}"#,
    ]
    .map(|input| ModelSettings::new(serde_json::from_str(input).unwrap()))
    .into()
}

fn lines() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        cases::nested_json(),
        cases::nested_json().prop_map(|json| format!("{{\"input\": {json}}}")),
        "[ \\r]{0,3}".prop_map(String::from),
        Just("[1, 2]".to_owned()),
        Just("\"a text\"".to_owned()),
    ];
    let lines = prop::collection::vec(line, 0..8)
        // A line break within JSON would make two lines of it.
        .prop_map(|lines| {
            lines.iter().map(|line| line.replace('\n', " ") + "\n").collect::<String>()
        });
    let lines =
        (lines, prop::option::of(cases::damage())).prop_map(|(lines, damage)| match damage {
            Some(damage) => cases::damaged(lines.into_bytes(), &damage),
            None => lines.into_bytes(),
        });
    prop_oneof![3 => lines, 1 => prop::collection::vec(any::<u8>(), 0..80)]
}

/// Those that are not blank.
fn told(bytes: &[u8]) -> Vec<&[u8]> {
    let lines = bytes.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    lines.filter(|line| !line.is_empty()).collect()
}

proptest! {
    #![proptest_config(cases::usually(256))]

    #[test]
    fn each_line_is_an_input_up_to_the_one_that_is_refused(lines in lines()) {
        let n_lines = told(&lines).len();
        let has_bom = lines.contains(&0xef);
        for settings in settings() {
            let (inputs, refusal) = read(&lines, &settings, 0);
            prop_assert!(inputs.len() + usize::from(refusal.is_some()) <= n_lines);
            prop_assert!(refusal.is_some() || has_bom || inputs.len() == n_lines);
            let is_theirs = refusal.is_none_or(|refusal| !refusal.code().status().is_server_error());
            prop_assert!(is_theirs);
        }
    }

    #[test]
    fn lines_are_the_same_however_a_body_is_cut(
        body in prop_oneof![
            lines(),
            "[a\n ]{0,300}".prop_map(String::into_bytes),
        ],
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
        cuts.extend([0, body.len()]);
        cuts.sort_unstable();
        let pieces: Vec<Result<Bytes, Infallible>> = cuts
            .windows(2)
            .map(|cut| Ok(Bytes::copy_from_slice(&body[cut[0]..cut[1]])))
            .collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let read = runtime.block_on(async {
            let body = Body::from_stream(stream::iter(pieces));
            let mut lines = Lines::new(body, Duration::from_secs(9));
            let mut read = Vec::new();
            while let Some(some) = lines.next().await.unwrap() {
                assert!(some.split(|&byte| byte == b'\n').count() <= MOST_LINES + 1);
                read.extend(told(&some).into_iter().map(<[u8]>::to_vec));
            }
            read
        });
        prop_assert_eq!(read, told(&body));
    }
}
