//! Scaled dot-product attention.

use tch::Tensor;

/// Queries attend to keys: `q [B, L, H·d]`, `k, v [B, S, H·d]` to `[B, L, H·d]`, scale `1/√d`.
///
/// `causal` hides later tokens from earlier ones.
pub fn attend(q: &Tensor, k: &Tensor, v: &Tensor, heads: i64, causal: Causal) -> Tensor {
    let (batch, length, width) = sizes(q);
    let split = |x: &Tensor| x.view([batch, -1, heads, width / heads]).transpose(1, 2);
    let out =
        Tensor::scaled_dot_product_attention::<Tensor>(&split(q), &split(k), &split(v), None, 0.0, causal == Causal::Yes, None, false);
    out.transpose(1, 2).reshape([batch, length, width])
}

/// Queries attend to keys of as many tokens: `q, k, v [B, L, H·d]` to `[B, L, H·d]`, without a scale, and with `bias
/// [1, H, L, L]` added to each product: T5's.
pub fn attend_biased(q: &Tensor, k: &Tensor, v: &Tensor, heads: i64, bias: &Tensor) -> Tensor {
    let (batch, length, width) = sizes(q);
    let split = |x: &Tensor| x.view([batch, -1, heads, width / heads]).transpose(1, 2);
    let out = Tensor::scaled_dot_product_attention(&split(q), &split(k), &split(v), Some(bias), 0.0, false, Some(1.0), false);
    out.transpose(1, 2).reshape([batch, length, width])
}

/// Whether later tokens are hidden from earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Causal {
    /// They are.
    Yes,
    /// Every token sees every other.
    No,
}

fn sizes(x: &Tensor) -> (i64, i64, i64) {
    let size = x.size();
    (size[0], size[1], size[2])
}
