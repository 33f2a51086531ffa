//! What reads inputs on the host, before burn's layers: the embedding of texts, of which only what a
//! minibatch reads is touched, and the stages of images.

use std::borrow::Cow;

use super::network::packed::Layer;
use super::network::{Dense, Gradient};
use super::rows::{Rows, SparseRows};
use super::shape::Shape;
use super::stages::{Passed, Stages};

/// The first layers of a network, where they stay on the host.
#[derive(Debug)]
pub(super) enum Front<'a> {
    /// A layer that reads sparse rows.
    Embedding(Cow<'a, Dense>),
    /// Layers that read images, and the convolutions among them packed: once for all that is asked.
    Stages(Stages, Cow<'a, [Dense]>, Vec<Layer>),
}

/// What rows leave behind, for the way back.
#[derive(Debug)]
pub(super) enum Trace {
    /// The rows themselves.
    Sparse(SparseRows),
    /// What images left in each stage.
    Images(Vec<Passed>),
}

impl<'a> Front<'a> {
    /// That of `shape`, where it has one, and the other of its `layers`.
    pub(super) fn of(shape: &Shape, layers: &'a [Dense]) -> (Option<Self>, &'a [Dense]) {
        let (own, others) = layers.split_at(shape.n_front());
        let front = match &shape.stages {
            Some(stages) => {
                Some(Self::Stages(stages.clone(), Cow::Borrowed(own), Stages::packed(own)))
            }
            None => own.first().map(|layer| Self::Embedding(Cow::Borrowed(layer))),
        };
        (front, others)
    }

    /// The same with layers of its own.
    pub(super) fn into_owned(self) -> Front<'static> {
        match self {
            Self::Embedding(layer) => Front::Embedding(Cow::Owned(layer.into_owned())),
            Self::Stages(stages, layers, convolutions) => {
                Front::Stages(stages, Cow::Owned(layers.into_owned()), convolutions)
            }
        }
    }

    /// Numbers that it makes of a row.
    pub(super) fn n_outputs(&self) -> usize {
        match self {
            Self::Embedding(layer) => layer.n_out,
            Self::Stages(stages, ..) => stages.n_outputs(),
        }
    }

    /// Multiply-adds, about, that `n` rows take, which read `n_buckets` in all where they are of texts.
    pub(super) fn work(&self, n: usize, n_buckets: usize) -> usize {
        match self {
            Self::Embedding(layer) => n_buckets * layer.n_out,
            Self::Stages(stages, ..) => n * stages.work(),
        }
    }

    /// What it makes of `rows`, `[n, n_outputs]` row-major, before a ReLU; and what they leave behind,
    /// whole where it is `kept`.
    pub(super) fn forward(&self, rows: Rows, kept: bool) -> (Vec<f32>, Trace) {
        match (self, rows) {
            (Self::Embedding(layer), Rows::Sparse(rows)) => {
                (rows.through(layer), Trace::Sparse(rows))
            }
            (Self::Stages(stages, layers, convolutions), Rows::Full(images)) => {
                let (said, passed) = stages.forward(layers, convolutions, &images, kept);
                (said, Trace::Images(passed))
            }
            _ => unreachable!("rows are of the shape's kind"),
        }
    }

    /// Gradients of its layers' weights and biases in turn, but for the first `n_frozen` layers, from
    /// that of what it made of rows.
    pub(super) fn gradients(
        &self,
        trace: Trace,
        of_outputs: &[f32],
        n_frozen: usize,
    ) -> Vec<Gradient> {
        match (self, trace) {
            (Self::Embedding(layer), Trace::Sparse(rows)) => {
                let (columns, numbers) = rows.gradient(of_outputs, layer.n_out);
                let mut of_bias = vec![0.0; layer.n_out];
                for row in of_outputs.chunks_exact(layer.n_out) {
                    of_bias.iter_mut().zip(row).for_each(|(sum, slope)| *sum += slope);
                }
                vec![Gradient::Columns(columns, numbers), Gradient::All(of_bias)]
            }
            (Self::Stages(stages, layers, _), Trace::Images(passed)) => {
                let gradients = stages.gradients(layers, &passed, of_outputs, n_frozen / 2);
                gradients.into_iter().map(Gradient::All).collect()
            }
            _ => unreachable!("a trace is of its own front"),
        }
    }
}
