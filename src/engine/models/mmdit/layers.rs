//! The blocks of SD3.
//!
//! Source: Stability's `mmditx.py` (`JointBlock`, `DismantledBlock`).

use tch::Tensor;

use crate::engine::EngineError;
use crate::engine::nn::attention::Causal;
use crate::engine::nn::modulate::{Modulation, ShiftScale, gated, modulated, within_half};
use crate::engine::nn::wide::in_kind;
use crate::engine::nn::{Linear, RmsNorm, Scope, attend};
use crate::engine::residency::{Held, Residency};
use crate::families::FamilyError;
use crate::families::apart::Halves;
use crate::units::BlockIndex;

const NORM_EPS: f64 = 1e-6;

/// Queries, keys and values; since 3.5 with a norm for each head's queries and keys.
#[derive(Debug)]
struct Qkv {
    heads: i64,
    q: Linear,
    k: Linear,
    v: Linear,
    norms: Option<(RmsNorm, RmsNorm)>,
}

impl Qkv {
    fn new(scope: &Scope<'_>, heads: i64) -> Result<Self, FamilyError> {
        let linear = |name: &str| Linear::new(&scope.at(name));
        let norm = |name: &str| RmsNorm::new(&scope.at(name), NORM_EPS);
        let norms = if scope.has("ln_q.weight") { Some((norm("ln_q")?, norm("ln_k")?)) } else { None };
        Ok(Self { heads, q: linear("q")?, k: linear("k")?, v: linear("v")?, norms })
    }

    /// `x [B, L, D]` to q, k and v, each `[B, L, D]`.
    fn forward(&self, held: &Held<'_>, x: &Tensor) -> [Tensor; 3] {
        // Three products read it: rounded once.
        let x = &in_kind(x, self.q.reads(held, x.size()[1]));
        let by_head = |norm: &RmsNorm, product: Tensor| {
            let size = product.size();
            norm.forward(held, &product.view([size[0], size[1], self.heads, -1])).flatten(2, 3)
        };
        let (q, k) = (self.q.forward(held, x), self.k.forward(held, x));
        let (q, k) = match &self.norms {
            Some((of_q, of_k)) => (by_head(of_q, q), by_head(of_k, k)),
            None => (q, k),
        };
        [q, k, self.v.forward(held, x)]
    }
}

/// What follows attention: its last product, and a feed-forward.
#[derive(Debug)]
struct After {
    at: BlockIndex,
    proj: Linear,
    fc1: Linear,
    fc2: Linear,
}

impl After {
    fn new(scope: &Scope<'_>) -> Result<Self, FamilyError> {
        Ok(Self {
            at: scope.at("mlp").block()?,
            proj: Linear::new(&scope.at("attn.proj"))?,
            fc1: Linear::new(&scope.at("mlp.fc1"))?,
            fc2: Linear::new(&scope.at("mlp.fc2"))?,
        })
    }

    /// `x` is the stream, `more` what else attention gave, with its gate.
    fn forward(
        &self,
        residency: &Residency,
        x: Tensor,
        attended: &Tensor,
        more: Option<(&Tensor, &Tensor)>,
        [attention_gate, shift, scale, gate]: [&Tensor; 4],
    ) -> Result<Tensor, EngineError> {
        let held = residency.acquire(self.at)?;
        let mut x = gated(x, attention_gate, &self.proj.forward(&held, attended));
        if let Some((gate, layer)) = more {
            x = gated(x, gate, layer);
        }
        let h = self.fc1.forward(&held, &modulated(&x, shift, scale)).gelu_("tanh");
        Ok(within_half(gated(x, gate, &self.fc2.forward(&held, &h))))
    }
}

/// Attention of the picture's tokens among themselves alone, beside the joint one.
#[derive(Debug)]
struct Alone {
    at: BlockIndex,
    qkv: Qkv,
    proj: Linear,
}

/// The text's half of a block.
#[derive(Debug)]
enum Text {
    /// It goes on.
    Through { modulation: Modulation, after: After },
    /// It is read here for the last time.
    Last(ShiftScale),
}

/// Text and picture attend together, and have weights of their own.
#[derive(Debug)]
pub struct JointBlock {
    picture_at: BlockIndex,
    text_at: BlockIndex,
    picture_modulation: Modulation,
    picture: Qkv,
    alone: Option<Alone>,
    after: After,
    text: Qkv,
    of_text: Text,
}

impl JointBlock {
    /// Finds the block's weights; `last` says how the text's modulation of the last block is stored.
    pub fn new(scope: &Scope<'_>, heads: i64, dual: bool, last: Option<Halves>) -> Result<Self, FamilyError> {
        let (picture, text) = (scope.at("x_block"), scope.at("context_block"));
        let alone = |scope: &Scope<'_>| -> Result<Alone, FamilyError> {
            Ok(Alone { at: scope.block()?, qkv: Qkv::new(scope, heads)?, proj: Linear::new(&scope.at("proj"))? })
        };
        Ok(Self {
            picture_at: picture.at("attn.q").block()?,
            text_at: text.at("attn.q").block()?,
            picture_modulation: Modulation::new(&picture.at("adaLN_modulation.1"))?,
            picture: Qkv::new(&picture.at("attn"), heads)?,
            alone: if dual { Some(alone(&picture.at("attn2"))?) } else { None },
            after: After::new(&picture)?,
            text: Qkv::new(&text.at("attn"), heads)?,
            of_text: match last {
                Some(stored) => Text::Last(ShiftScale::new(&text, stored)?),
                None => Text::Through { modulation: Modulation::new(&text.at("adaLN_modulation.1"))?, after: After::new(&text)? },
            },
        })
    }

    /// `picture [B, I, D]`, `text [B, T, D]` of the stream's type, `emb [B, D]` after its activation; to the same two.
    pub fn forward(&self, residency: &Residency, (picture, text): (Tensor, Tensor), emb: &Tensor) -> Result<(Tensor, Tensor), EngineError> {
        let (kind, tokens, words) = (picture.kind(), picture.size()[1], text.size()[1]);
        let held = residency.acquire(self.picture_at)?;
        let ([shift, scale, attention_gate, mlp_shift, mlp_scale, gate], beside) = match &self.alone {
            Some(alone) => {
                let [a, b, c, d, e, f, shift, scale, gate] = self.picture_modulation.forward(&held, emb, kind);
                ([a, b, c, d, e, f], Some((alone, modulated(&picture, &shift, &scale), gate)))
            }
            None => (self.picture_modulation.forward(&held, emb, kind), None),
        };
        let [pq, pk, pv] = self.picture.forward(&held, &modulated(&picture, &shift, &scale));
        drop(held);
        let held = residency.acquire(self.text_at)?;
        let (of_text, [shift, scale]) = match &self.of_text {
            Text::Last(last) => (None, last.forward(&held, emb, kind)),
            Text::Through { modulation, after } => {
                let [shift, scale, rest @ ..]: [Tensor; 6] = modulation.forward(&held, emb, kind);
                (Some((after, rest)), [shift, scale])
            }
        };
        let [tq, tk, tv] = self.text.forward(&held, &modulated(&text, &shift, &scale));
        drop(held);
        let both = |text: Tensor, picture: Tensor| Tensor::cat(&[text, picture], 1);
        let attended = attend(&both(tq, pq), &both(tk, pk), &both(tv, pv), self.picture.heads, Causal::No);
        let beside = match beside {
            Some((alone, h, gate)) => {
                let held = residency.acquire(alone.at)?;
                let [q, k, v] = alone.qkv.forward(&held, &h);
                Some((gate, alone.proj.forward(&held, &attend(&q, &k, &v, alone.qkv.heads, Causal::No))))
            }
            None => None,
        };
        let more = beside.as_ref().map(|(gate, layer)| (gate, layer));
        let rest = [&attention_gate, &mlp_shift, &mlp_scale, &gate];
        let picture = self.after.forward(residency, picture, &attended.narrow(1, words, tokens), more, rest)?;
        let text = match of_text {
            Some((after, rest)) => after.forward(residency, text, &attended.narrow(1, 0, words), None, rest.each_ref())?,
            None => text,
        };
        Ok((picture, text))
    }
}
