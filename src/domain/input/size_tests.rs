//! What inputs take in memory.

use super::*;

#[test]
fn the_bytes_of_inputs_are_those_of_their_numbers_and_of_their_texts() {
    let place = size_of::<Category>();
    let mut texts = Inputs::with_shape(0, 1);
    texts.push_text("four".into());
    texts.push(&[], &[Some("eleven long".into())]);
    texts.push(&[], &[None]);
    assert_eq!(texts.size_bytes(), 3 * place + 15);
    let mut one = Inputs::with_shape(0, 1);
    one.push_from(&texts, 1);
    assert_eq!(one.size_bytes(), place + 11);
    texts.clear();
    assert_eq!((texts.size_bytes(), texts.len()), (0, 0));
    let mut rows = Inputs::with_shape(2, 1);
    rows.push(&[1.0, 2.0], &[Some("red".into())]);
    assert_eq!(rows.size_bytes(), 8 + place + 3);
}
