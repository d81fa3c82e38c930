//! Text encoders as llama.cpp quantises language models: in which order they stand in a file, and which tensor gets which type.
//!
//! Source: llama.cpp, `src/llama-quant.cpp` (`llama_tensor_get_type_impl`, `tensor_type_fallback`) without importance matrix, and
//! `src/llama-model-loader.h` (`weight_name_comparer`); of the 16-bit step before it `convert_hf_to_gguf.py`.

use super::comfy_gguf::{Chosen, Given, is_table};
use super::precision::Mix;
use crate::weights::{DType, Shape};

/// The table of tokens.
const TOKENS: &str = "token_embd.weight";
/// The way out of the model, where it is another matrix than the table of tokens.
const OUTPUT: &str = "output.weight";

/// Returns what becomes of an encoder's tensors, under llama.cpp's names and in the order of its files. `pairs` is how many heads of
/// queries share one of keys and values.
#[must_use]
pub fn plan(given: &[Given], mix: Mix, pairs: u64) -> Vec<Chosen> {
    let mut order: Vec<usize> = (0..given.len()).collect();
    order.sort_by_key(|n| (layer(&given[*n].name), given[*n].name.clone()));
    let count = |part: &str| given.iter().filter(|tensor| tensor.name.contains(part)).count();
    let is_tied = !given.iter().any(|tensor| tensor.name == OUTPUT);
    let mut rules = Rules { mix, pairs, is_tied, values: (0, count(VALUES)), ways_out: (0, count(FEED_OUT)) };
    let chosen = |source: usize| {
        let tensor = &given[source];
        let through = sixteen(tensor);
        let dtype = if is_candidate(tensor) { fitting(rules.dtype(&tensor.name, &tensor.shape), &tensor.shape) } else { through };
        Chosen { source, name: tensor.name.clone(), dtype, shape: tensor.shape.clone(), through }
    };
    order.into_iter().map(chosen).collect()
}

const VALUES: &str = "attn_v.weight";
const FEED_OUT: &str = "ffn_down";
const ATTENTION_OUT: &str = "attn_output.weight";

/// Returns the number of a tensor's layer; what is in none comes first. Names of encoders that have a decoder beside them have
/// something in front of it, and are in the order of their letters.
fn layer(name: &str) -> Option<u64> {
    name.strip_prefix("blk.")?.split_once('.')?.0.parse().ok()
}

/// Returns the type of what is not quantised: norms and tables of positions are exact.
fn sixteen(tensor: &Given) -> DType {
    let is_exact = tensor.shape.rank() <= 1 || is_table(&tensor.name);
    match tensor.dtype {
        _ if is_exact => DType::F32,
        DType::Bf16 => DType::Bf16,
        _ => DType::F16,
    }
}

fn is_candidate(tensor: &Given) -> bool {
    tensor.shape.rank() == 2 && tensor.name.ends_with("weight") && !is_table(&tensor.name)
}

/// What decides, and how many tensors of a kind have come of all.
struct Rules {
    mix: Mix,
    pairs: u64,
    is_tied: bool,
    values: (usize, usize),
    ways_out: (usize, usize),
}

impl Rules {
    fn dtype(&mut self, name: &str, shape: &Shape) -> DType {
        let base = self.mix.base();
        if name == OUTPUT || (self.is_tied && name == TOKENS) {
            let is_whole = shape.0.last().is_some_and(|row| row.is_multiple_of(base.block().0));
            return if is_whole && base != DType::Q8_0 { DType::Q6_K } else { DType::Q8_0 };
        }
        if name.contains(VALUES) {
            let (nth, all) = self.values;
            self.values.0 += 1;
            return self.of_values(nth, all);
        }
        if name.contains(FEED_OUT) {
            let (nth, all) = self.ways_out;
            self.ways_out.0 += 1;
            return self.of_ways_out(nth, all);
        }
        match self.mix {
            Mix::Q2_K if name.contains(ATTENTION_OUT) => DType::Q3_K,
            Mix::Q3_K_M if name.contains(ATTENTION_OUT) => DType::Q4_K,
            Mix::Q3_K_L if name.contains(ATTENTION_OUT) => DType::Q5_K,
            _ => base,
        }
    }

    fn of_values(&self, nth: usize, all: usize) -> DType {
        match self.mix {
            Mix::Q2_K if self.pairs >= 4 => DType::Q4_K,
            Mix::Q2_K => DType::Q3_K,
            Mix::Q3_K_M if nth < 2 => DType::Q5_K,
            Mix::Q3_K_M => DType::Q4_K,
            Mix::Q3_K_L => DType::Q5_K,
            Mix::Q4_K_S if nth < 4 => DType::Q5_K,
            Mix::Q4_K_M | Mix::Q5_K_M if has_more(nth, all) => DType::Q6_K,
            _ => self.mix.base(),
        }
    }

    fn of_ways_out(&self, nth: usize, all: usize) -> DType {
        match self.mix {
            Mix::Q2_K => DType::Q3_K,
            Mix::Q3_K_M if nth < all / 16 => DType::Q5_K,
            Mix::Q3_K_M => DType::Q4_K,
            Mix::Q3_K_L => DType::Q5_K,
            Mix::Q4_K_S if nth < all / 8 => DType::Q5_K,
            Mix::Q4_K_M | Mix::Q5_K_M if has_more(nth, all) => DType::Q6_K,
            _ => self.mix.base(),
        }
    }
}

/// Returns whether a layer gets more bits in a mix: the first and last eighth, and every third between.
fn has_more(nth: usize, all: usize) -> bool {
    nth < all / 8 || nth >= 7 * all / 8 || (nth - all / 8) % 3 == 2
}

/// Returns the type, or one of shorter blocks where rows are no whole ones, or a half where there is none.
fn fitting(dtype: DType, shape: &Shape) -> DType {
    let fits = |dtype: DType| shape.0.last().is_some_and(|row| row.is_multiple_of(dtype.block().0));
    let shorter = match dtype {
        DType::Q2_K | DType::Q3_K => DType::Q4_0,
        DType::Q4_K => DType::Q5_0,
        DType::Q5_K => DType::Q5_1,
        DType::Q6_K => DType::Q8_0,
        other => other,
    };
    [dtype, shorter].into_iter().find(|dtype| fits(*dtype)).unwrap_or(DType::F16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(name: &str, shape: &[u64]) -> Given {
        Given { name: name.to_owned(), dtype: DType::F16, shape: Shape(shape.to_vec()) }
    }

    /// A language model of this many layers, in the order of letters.
    fn model(prefix: &str, layers: u64, output: bool) -> Vec<Given> {
        let mut all: Vec<Given> = vec![given(TOKENS, &[512, 256]), given("output_norm.weight", &[256])];
        all.extend(output.then(|| given(OUTPUT, &[512, 256])));
        for n in 0..layers {
            for part in ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_up", "ffn_down"] {
                all.push(given(&format!("{prefix}blk.{n}.{part}.weight"), &[256, 256]));
            }
            all.push(given(&format!("{prefix}blk.{n}.attn_norm.weight"), &[256]));
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    fn types(given: &[Given], mix: Mix, part: &str) -> Vec<&'static str> {
        plan(given, mix, 4).iter().filter(|chosen| chosen.name.contains(part)).map(|chosen| chosen.dtype.name()).collect()
    }

    #[test]
    fn layers_stand_in_their_order_and_the_outer_ones_have_more_bits() {
        let model = model("", 16, false);
        let planned = plan(&model, Mix::Q4_K_M, 4);
        assert_eq!((planned[0].name.as_str(), planned[1].name.as_str()), ("output_norm.weight", TOKENS));
        let layers: Vec<u64> = planned.iter().filter_map(|chosen| layer(&chosen.name)).collect();
        assert!(layers.is_sorted() && layers.len() == 16 * 7);
        let more = [0, 1, 4, 7, 10, 13, 14, 15];
        let wanted: Vec<&str> = (0..16).map(|n| if more.contains(&n) { "Q6_K" } else { "Q4_K" }).collect();
        assert_eq!((types(&model, Mix::Q4_K_M, VALUES), types(&model, Mix::Q4_K_M, FEED_OUT)), (wanted.clone(), wanted));
        assert_eq!(types(&model, Mix::Q3_K_M, FEED_OUT)[..2], ["Q5_K", "Q4_K"]);
        assert_eq!(types(&model, Mix::Q4_K_S, VALUES)[3..5], ["Q5_K", "Q4_K"]);
        assert!(planned.iter().all(|chosen| (chosen.dtype == DType::F32) == chosen.name.ends_with("_norm.weight")));
    }

    #[test]
    fn the_table_of_tokens_is_stored_as_the_way_out_where_it_is_that_too() {
        let table = |output, mix| plan(&model("", 1, output), mix, 4).iter().find(|c| c.name == TOKENS).unwrap().dtype;
        assert_eq!((table(false, Mix::Q4_0), table(false, Mix::Q8_0), table(true, Mix::Q4_0)), (DType::Q6_K, DType::Q8_0, DType::Q4_0));
        assert_eq!(types(&model("", 1, true), Mix::Q2_K, OUTPUT), ["Q6_K", "Q3_K"], "an attention's way out has a rule of its own");
    }

    #[test]
    fn values_that_many_queries_share_have_more_bits() {
        let values = |pairs| plan(&model("enc.", 1, false), Mix::Q2_K, pairs).iter().find(|c| c.name.contains(VALUES)).unwrap().dtype;
        assert_eq!((values(4), values(1)), (DType::Q4_K, DType::Q3_K));
    }

    #[test]
    fn rows_that_are_no_whole_blocks_get_shorter_ones_and_positions_stay_exact() {
        let row = |row: u64, mix| plan(&[given(OUTPUT, &[1, 1]), given("blk.0.attn_q.weight", &[4, row])], mix, 1)[1].dtype;
        assert_eq!((row(64, Mix::Q4_K_M), row(64, Mix::Q2_K), row(64, Mix::Q8_0)), (DType::Q5_0, DType::Q4_0, DType::Q8_0));
        assert_eq!((row(64, Mix::Q5_K_S), row(64, Mix::Q6_K), row(40, Mix::Q4_K_M)), (DType::Q5_1, DType::Q8_0, DType::F16));
        assert_eq!(types(&[given("enc.blk.0.attn_rel_b.weight", &[32, 64])], Mix::Q8_0, ""), ["F32"]);
    }
}
