//! Scaled dot-product attention.

use tch::{Kind, Tensor};

use super::product::{is_for_onednn, product};
use super::wide::in_kind;

/// Tokens on both sides from which on products are worth a call for each head.
const MANY: i64 = 512;
/// Scores that are held at once: as many as a core's cache has room for.
const SCORES: i64 = 1 << 20;
/// Queries that are looked at together, at least and at most.
const ROWS: (i64, i64) = (128, 512);

/// Queries attend to keys: `q [B, L, H·d]`, `k, v [B, S, H·d]` to `[B, L, H·d]`, scale `1/√d`.
///
/// `causal` hides later tokens from earlier ones. What comes out has `q`'s type.
pub fn attend(q: &Tensor, k: &Tensor, v: &Tensor, heads: i64, causal: Causal) -> Tensor {
    let (k, v) = (&in_kind(k, q.kind()), &in_kind(v, q.kind()));
    let (batch, length, width) = sizes(q);
    let split = |x: &Tensor| x.view([batch, -1, heads, width / heads]).transpose(1, 2);
    if causal == Causal::No && length.min(k.size()[1]) >= MANY && is_for_onednn(q, k) {
        return attend_in_rows(&split(q), &split(k), &split(v)).view([batch, length, width]);
    }
    let out =
        Tensor::scaled_dot_product_attention::<Tensor>(&split(q), &split(k), &split(v), None, 0.0, causal == Causal::Yes, None, false);
    out.transpose(1, 2).reshape([batch, length, width])
}

/// `q [B, H, L, d]`, `k, v [B, H, S, d]` to `[B, L, H, d]`: some queries of one head after the other. libtorch's fused
/// attention asks MKL for its products.
fn attend_in_rows(q: &Tensor, k: &Tensor, v: &Tensor) -> Tensor {
    let (of, keys) = (q.size(), k.size()[2]);
    let (batch, heads, length, wide) = (of[0], of[1], of[2], of[3]);
    let rows = (SCORES / keys).clamp(ROWS.0, ROWS.1);
    let out = Tensor::empty([batch, length, heads, wide], (q.kind(), q.device()));
    let q = q * (wide as f64).sqrt().recip();
    for (image, head) in (0..batch).flat_map(|image| (0..heads).map(move |head| (image, head))) {
        let one = |x: &Tensor| x.get(image).get(head);
        let (q, k, v, out) =
            (one(&q).contiguous(), one(k).contiguous(), one(v).transpose(0, 1).contiguous(), out.get(image).select(1, head));
        for first in (0..length).step_by(usize::try_from(rows).unwrap_or(1)) {
            let rows = rows.min(length - first);
            let scores = product(&q.narrow(0, first, rows), &k, None).softmax(-1, Kind::Float);
            out.narrow(0, first, rows).copy_(&product(&scores, &v, None));
        }
    }
    out
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

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    #[test]
    fn queries_in_rows_attend_as_all_at_once() {
        tch::manual_seed(5);
        for (batch, length, keys, heads, wide) in [(2i64, 700i64, 600i64, 3i64, 40i64), (1, 512, 1300, 1, 128)] {
            let of = |tokens: i64| Tensor::randn([batch, tokens, heads * wide], (Kind::Float, Device::Cpu));
            let (q, k, v) = (of(length), of(keys), of(keys));
            let split = |x: &Tensor| x.view([batch, -1, heads, wide]).transpose(1, 2);
            let exact = |x: &Tensor| split(x).to_kind(Kind::Double);
            let scores = exact(&q).matmul(&exact(&k).transpose(2, 3)) / (wide as f64).sqrt();
            let expected = scores.softmax(-1, Kind::Double).matmul(&exact(&v)).transpose(1, 2);
            for made in [attend_in_rows(&split(&q), &split(&k), &split(&v)), attend(&q, &k, &v, heads, Causal::No).view_as(&expected)] {
                let apart = (made.to_kind(Kind::Double) - &expected).abs().max().double_value(&[]);
                assert!(apart <= 2e-6 * expected.abs().max().double_value(&[]), "{length} to {keys}: {apart}");
            }
        }
    }
}
