//! Attention in training, and in prediction on padded rows.

use super::attention;
use super::batch::{Layout, Rows};
use super::terms::Terms;
use super::training_pass::TrainingPass;
use crate::device::cuda;
use crate::onednn;
use tch::{Kind, Tensor};

/// Attention within each row, with `terms` added to the scores. Tensors are `[places, hidden]`.
pub(super) fn attend(
    layout: &Layout,
    [query, key, value]: [Tensor; 3],
    heads: i64,
    terms: Option<&Terms>,
    dropout: Option<&mut TrainingPass>,
) -> Tensor {
    match (&layout.rows, terms) {
        (Rows::Packed { rows, .. }, Some(Terms::ByDistance(terms))) => {
            attention::attend([&query, &key, &value], rows, heads, Some(terms))
        }
        (Rows::Packed { rows, .. }, _) => attention::attend([&query, &key, &value], rows, heads, None),
        (Rows::Concatenated { starts, .. }, terms) => {
            let reach = match terms {
                Some(Terms::Within(reach)) => Some(*reach),
                _ => None,
            };
            let by_head = [&query, &key, &value].map(|states| states.unflatten(1, [heads, -1]));
            let [query, key, value] = by_head.each_ref();
            let context = if query.device().is_cuda() {
                let probability = dropout.map_or(0.0, |dropout| dropout.attention);
                cuda::attend([query, key, value], starts, layout.size[1], probability, reach)
                    .unwrap_or_else(|error| panic!("attention on the card failed, which worked at first: {error:?}"))
            } else {
                row_by_row([query, key, value], starts, reach, dropout)
            };
            context.flatten(1, 2)
        }
        (Rows::Padded { mask }, terms) => {
            let mask = match terms {
                Some(Terms::Matrix(matrix)) => Some(matrix),
                _ => mask.as_ref(),
            };
            let [query, key, value] = [query, key, value].map(|states| layout.by_head(&states, heads));
            let context = fused_or_plain(&query, &key, &value, mask, dropout);
            context.transpose(1, 2).reshape([layout.size[0] * layout.size[1], -1])
        }
    }
}

/// The slow equivalent of the card's attention, `[places, heads, head]`: one row after another.
fn row_by_row(
    states: [&Tensor; 3],
    starts: &Tensor,
    reach: Option<i64>,
    mut dropout: Option<&mut TrainingPass>,
) -> Tensor {
    let starts = Vec::<i32>::try_from(starts).expect("a flat tensor of int32");
    let of_row = |row: &[i32]| {
        let (start, tokens) = (i64::from(row[0]), i64::from(row[1] - row[0]));
        // [1, heads, tokens, head]
        let [query, key, value] = states.map(|all| all.narrow(0, start, tokens).transpose(0, 1).unsqueeze(0));
        let mask = reach.map(|reach| {
            let ones = Tensor::ones([tokens, tokens], (Kind::Bool, query.device()));
            let is_far = ones.triu(reach + 1).logical_or(&ones.tril(-reach - 1));
            Tensor::zeros([1, 1, tokens, tokens], (query.kind(), query.device()))
                .masked_fill(&is_far, f64::NEG_INFINITY)
        });
        let context = plain_attention(&query, &key, &value, mask.as_ref(), dropout.as_deref_mut());
        context.squeeze_dim(0).transpose(0, 1)
    };
    Tensor::cat(&starts.windows(2).map(of_row).collect::<Vec<_>>(), 0)
}

/// Up to this many tokens, rows use plain products in half precision on the CPU.
const SHORT: i64 = 128;

/// Scaled dot-product attention over `[batch, heads, tokens, head]`.
///
/// Uses libtorch's fused kernel, except on the CPU in half precision for training, for short rows and with attention
/// dropout. There its backward pass took twice as long as plain products (29 against 14 ms on 7 rows of 290 tokens, 12
/// heads of 32), its forward pass on sentences takes a quarter of all time, and its dropout uses a slow generator.
/// (Prediction in bf16 uses [`attention`] if available.) Nor does it have gradients of terms on the CPU.
fn fused_or_plain(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    mask: Option<&Tensor>,
    dropout: Option<&mut TrainingPass>,
) -> Tensor {
    let on_cpu = !query.device().is_cuda();
    let is_half = query.kind() != Kind::Float;
    let is_short = query.size()[2] <= SHORT;
    let drops = dropout.as_ref().is_some_and(|dropout| dropout.attention > 0.0);
    let learns_terms = mask.is_some_and(Tensor::requires_grad);
    if on_cpu && (drops || learns_terms || is_half && (is_short || dropout.is_some())) {
        plain_attention(query, key, value, mask, dropout)
    } else {
        let probability = dropout.map_or(0.0, |dropout| dropout.attention);
        // The fused kernel needs the mask for each query.
        let mask = mask.map(|mask| mask.expand([-1, -1, query.size()[2], -1], false));
        Tensor::scaled_dot_product_attention(query, key, value, mask.as_ref(), probability, false, None, false)
    }
}

/// The products as the paper writes them: softmax(Q Kᵀ / √head) V.
fn plain_attention(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    mask: Option<&Tensor>,
    dropout: Option<&mut TrainingPass>,
) -> Tensor {
    let (rows, heads, tokens, head) = query.size4().expect("four dimensions");
    let flat = |states: &Tensor| states.reshape([rows * heads, tokens, head]);
    // The mask is added in the product; a separate addition would be one more pass over all scores.
    let (mask, beta) = match mask {
        Some(mask) => {
            let queries = mask.size()[2];
            (mask.expand([rows, heads, queries, tokens], false).reshape([rows * heads, queries, tokens]), 1.0)
        }
        None => (query.new_zeros([1], (query.kind(), query.device())), 0.0),
    };
    // [batch * heads, tokens, tokens]
    let scores = mask.baddbmm(&flat(&(query / (head as f64).sqrt())), &flat(key).transpose(1, 2), beta, 1.0);
    let weights = onednn::softmax(&scores);
    match dropout {
        Some(dropout) => dropout.attention_weights(&weights),
        None => weights,
    }
    .bmm(&flat(value))
    .view([rows, heads, tokens, head])
}
