//! Streams of answers, as a client reads them.

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::Float32Type;
use arrow_ipc::reader::StreamReader;

use super::*;
use crate::http::ranking::rank;
use crate::services::serving::Answered;

#[test]
fn answers_are_one_stream_whatever_pieces_they_come_in() {
    let labels = ["a", "b", "c"].map(str::to_owned);
    let answered = Answered::new(3, labels.to_vec().into(), vec![0.25, 0.5, 0.25, 0.75, 0.0, 0.25]);
    let said = rank(&answered, 2).unwrap();
    for remember in [false, true] {
        let answers = Answers::new(remember);
        let pieces = [
            answers.begin(),
            answers.rows(&said),
            answers.rows(&said[..1]),
            answers.refusal("why"),
        ];
        let bytes = pieces.map(Result::unwrap).concat();
        let batches: Vec<RecordBatch> =
            StreamReader::try_new(&bytes[..], None).unwrap().map(Result::unwrap).collect();
        assert_eq!(batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [2, 1, 1]);
        assert_eq!(batches[0].num_columns(), if remember { 5 } else { 4 });
        let texts = |batch: &RecordBatch, name: &str| {
            let column = batch.column_by_name(name).unwrap().as_string::<i32>().clone();
            column.iter().map(|text| text.map(str::to_owned)).collect::<Vec<_>>()
        };
        assert_eq!(texts(&batches[0], "label"), [Some("b".to_owned()), Some("a".to_owned())]);
        assert_eq!(texts(&batches[0], "error"), [None, None]);
        assert_eq!(
            (texts(&batches[2], "label"), texts(&batches[2], "error")),
            (vec![None], vec![Some("why".to_owned())])
        );
        let probabilities = batches[0].column_by_name("probability").unwrap();
        assert_eq!(probabilities.as_primitive::<Float32Type>().values()[..], [0.5, 0.75]);
        let top = batches[0].column_by_name("top").unwrap().as_list::<i32>().value(1);
        let top = top.as_struct();
        let names: Vec<_> = top.column(0).as_string::<i32>().iter().flatten().collect();
        assert_eq!(names, ["a", "c"]);
        assert_eq!(top.column(1).as_primitive::<Float32Type>().values()[..], [0.75, 0.25]);
        let nothing = [answers.begin(), answers.end()].map(Result::unwrap).concat();
        assert_eq!(StreamReader::try_new(&nothing[..], None).unwrap().count(), 0);
    }
}
