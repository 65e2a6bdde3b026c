//! The layers' forward pass in one piece, for prediction in int8 and fp32 on the CPU.
//!
//! Encoders whose attention it does not know (ModernBERT, DeBERTa) take its products alone, in int8 ([`Int8Linear`]).
//!
//! libtorch computes a layer operation by operation, on padded rows. In int8 its products have one scale for all
//! activations of a call, so a document's result would depend on the other documents of its batch. Here each row of
//! activations has its own scale, rows are concatenated without padding, and what is between two products stays in the
//! cache.
//!
//! `simd.rs` has the few instructions that differ between CPUs; all other arithmetic is plain loops, compiled once for
//! each kind of CPU. [`Cpu::Portable`] is the slow equivalent of the others.

mod elementwise;
mod layer;
mod matrix;
mod product;
mod simd;

pub(crate) use self::product::Int8Linear;

use self::elementwise::Function;
use self::layer::{Distances, Forward, FusedLayer, Norm, Scratch};
use self::matrix::{Matrix, Packing};
use super::activation::Activation;
use super::config::BertConfig;
use super::distances::RelativeBias;
use super::family::ModelType;
use super::parameters::Parameters;
use crate::ModelError;
use crate::device::cpu::Cpu;
use crate::tensor_slice::{floats, floats_mut};
use std::ops::Range;
use tch::Tensor;

/// All layers of an encoder. One thread computes a pass; threads can share the weights.
#[derive(Debug)]
pub struct FusedLayers {
    cpu: Cpu,
    layers: Vec<FusedLayer>,
    /// Of MPNet.
    distances: Option<Distances>,
}

impl FusedLayers {
    /// Whether encoders of this kind have layers that this module computes.
    pub const fn supports(config: &BertConfig) -> bool {
        match config.model_type {
            ModelType::Bert
            | ModelType::Roberta
            | ModelType::Electra
            | ModelType::Distilbert
            | ModelType::XlmRoberta
            | ModelType::Mpnet => true,
            // Their layers have other parts.
            ModelType::ModernBert | ModelType::DebertaV2 => false,
        }
    }

    /// Copies the weights in the order that products on `cpu` read them, quantised if `int8`. The parameters are fp32 on
    /// the CPU. Panics if the CPU lacks the instructions.
    ///
    /// # Errors
    /// If a parameter is missing.
    pub fn new(config: &BertConfig, parameters: &Parameters, cpu: Cpu, int8: bool) -> Result<Self, ModelError> {
        assert!(cpu.is_here(), "this CPU has no {}", cpu.name());
        let layer = |at: i64| {
            let of = |part: &str, end: &str| -> Result<Vec<f32>, ModelError> {
                let tensor = parameters.get(&format!("bert.encoder.layer.{at}.{part}.{end}"))?;
                Ok(floats(&tensor.detach().contiguous()).to_vec())
            };
            // Several layers with the same inputs become one.
            let linear = |parts: &[&str]| -> Result<Matrix, ModelError> {
                let (mut weight, mut bias) = (Vec::new(), Vec::new());
                for part in parts {
                    weight.extend(of(part, "weight")?);
                    bias.extend(of(part, "bias")?);
                }
                Ok(simd::run(cpu, Packing { weight: &weight, bias: &bias, int8 }))
            };
            let norm = |part: &str| -> Result<Norm, ModelError> {
                Ok(Norm { weight: of(part, "weight")?, bias: of(part, "bias")?, eps: config.layer_norm_eps as f32 })
            };
            Ok(FusedLayer {
                projections: linear(&["attention.self.query", "attention.self.key", "attention.self.value"])?,
                attention_output: linear(&["attention.output.dense"])?,
                attention_norm: norm("attention.output.LayerNorm")?,
                intermediate: linear(&["intermediate.dense"])?,
                output: linear(&["output.dense"])?,
                output_norm: norm("output.LayerNorm")?,
                heads: config.num_attention_heads as usize,
                function: match config.hidden_act {
                    Activation::Gelu => Function::Gelu,
                    Activation::GeluNew => Function::GeluNew,
                    Activation::Relu => Function::Relu,
                },
            })
        };
        let layers = (0..config.num_hidden_layers).map(layer).collect::<Result<_, ModelError>>()?;
        let distances = RelativeBias::new(config, parameters)?.map(|bias| {
            let head = (config.hidden_size / config.num_attention_heads) as f64;
            let terms = bias.by_distance(config.max_tokens()).detach() * head.sqrt();
            Distances { terms: floats(&terms.contiguous()).to_vec(), longest: config.max_tokens() as usize - 1 }
        });
        Ok(Self { cpu, layers, distances })
    }

    /// Maps `states` `[places, hidden]` fp32 through all layers. `rows` are ranges of places in order and without gaps
    /// from 0 on; places after the last row are undefined.
    pub(super) fn forward(&self, states: &Tensor, rows: &[Range<usize>]) -> Tensor {
        let mut states = states.copy();
        let hidden = states.size()[1] as usize;
        let places = rows.last().map_or(0, |row| row.end);
        // SAFETY: the copy was made here, and nothing shares its storage.
        let numbers = unsafe { floats_mut(&mut states) };
        let mut scratch = Scratch::default();
        for layer in &self.layers {
            let states = &mut numbers[..places * hidden];
            let distances = self.distances.as_ref();
            simd::run(self.cpu, Forward { layer, states, rows, distances, scratch: &mut scratch });
        }
        states
    }
}

#[cfg(test)]
mod tests {
    use super::simd::Task;
    use super::*;
    use crate::seeded;
    use crate::{Batch, Bert};
    use std::path::Path;
    use std::sync::Arc;
    use tch::{Device, Kind, no_grad};

    /// An encoder with random weights, some of them far from the others, as trained models have.
    fn encoder(model_type: &str, hidden: i64, wide: i64, heads: i64, activation: &str) -> (BertConfig, Parameters) {
        let text = format!(
            r#"{{"model_type": "{model_type}", "vocab_size": 50, "hidden_size": {hidden}, "num_hidden_layers": 2,
                "num_attention_heads": {heads}, "intermediate_size": {wide}, "hidden_act": "{activation}"}}"#
        );
        let config = BertConfig::from_json(&text, Path::new("config.json")).expect("a sound configuration");
        let _turn = seeded(1);
        let random = |(name, shape): (String, Vec<i64>)| {
            let spread = if shape.len() == 2 { 1.0 / (shape[1] as f64).sqrt() } else { 0.1 };
            let tensor = Tensor::randn(&shape, (Kind::Float, Device::Cpu)) * spread;
            let _ = tensor.select(0, shape[0] - 1).f_mul_scalar_(4.0);
            let tensor = if name.ends_with("LayerNorm.weight") { tensor + 1.0 } else { tensor };
            (name, tensor)
        };
        let parameters = Parameters::new(Bert::shapes(&config).into_iter().map(random).collect());
        (config, parameters)
    }

    fn batch() -> Batch {
        let lengths = [1, 2, 5, 16, 17, 33, 120, 64];
        let row = |(at, length)| (0..length).map(|token| ((at * 7 + token * 11) % 50) as u32).collect();
        Batch { rows: lengths.into_iter().enumerate().map(row).collect() }
    }

    /// The states of each row's tokens.
    fn states(bert: &Bert, batch: &Batch) -> Vec<Tensor> {
        let states = no_grad(|| bert.forward(batch, Kind::Float, None));
        let of_row = |(at, row): (usize, &Vec<u32>)| states.get(at as i64).narrow(0, 0, row.len() as i64);
        batch.rows.iter().enumerate().map(of_row).collect()
    }

    fn largest_gap(left: &[Tensor], right: &[Tensor]) -> f64 {
        assert_eq!(left.len(), right.len());
        let gaps = left.iter().zip(right).map(|(left, right)| (left - right).abs().max().double_value(&[]));
        gaps.fold(0.0, f64::max)
    }

    /// Tensors are the slow equivalent of fp32. int8 is near it, and every row has its own scale: its batch changes
    /// nothing.
    #[test]
    fn every_cpu_computes_what_tensors_do() {
        // Sizes of real encoders, and some that fill neither vectors nor panels.
        let sizes = [(64, 256, 2, "gelu"), (40, 70, 4, "gelu_new"), (96, 33, 1, "relu")];
        for (model_type, (hidden, wide, heads, activation)) in
            sizes.map(|sizes| ("bert", sizes)).into_iter().chain([("mpnet", sizes[0])])
        {
            let (config, parameters) = encoder(model_type, hidden, wide, heads, activation);
            let batch = batch();
            let expected = states(&Bert::new(&config, &parameters).expect("all parameters"), &batch);
            for cpu in Cpu::ALL.into_iter().filter(|cpu| cpu.is_here()) {
                // Random terms of distances make attention sharp.
                for (int8, bound) in [(false, 1e-5), (true, if model_type == "mpnet" { 0.8 } else { 0.3 })] {
                    let mut bert = Bert::new(&config, &parameters).expect("all parameters");
                    let layers = FusedLayers::new(&config, &parameters, cpu, int8).expect("all parameters");
                    bert.predict_with(Arc::new(layers));
                    let found = states(&bert, &batch);
                    let gap = largest_gap(&found, &expected);
                    assert!(gap < bound, "{cpu:?}, int8: {int8}, {model_type}, {hidden}: {gap}");
                    for (row, found) in batch.rows.iter().zip(&found) {
                        let alone = states(&bert, &Batch { rows: vec![row.clone()] });
                        assert_eq!(alone[0], *found, "{cpu:?}, int8: {int8}, a row of {}", row.len());
                    }
                }
            }
        }
    }

    /// Plain loops are the slow equivalent of int8 products, with the same levels of activations.
    #[test]
    fn every_cpu_computes_what_plain_loops_do() {
        struct Product<'p> {
            weight: &'p [f32],
            bias: &'p [f32],
            input: &'p [f32],
        }
        impl Task for Product<'_> {
            type Output = Vec<f32>;

            #[inline(always)]
            fn run<S: simd::Simd>(self) -> Vec<f32> {
                let Self { weight, bias, input } = self;
                let matrix = Packing { weight, bias, int8: true }.run::<S>();
                let (inputs, outputs) = (weight.len() / bias.len(), bias.len());
                let (count, padded) = (input.len() / inputs, inputs.next_multiple_of(4));
                let mut numbers = vec![0; count * padded];
                let rows = input.chunks_exact(inputs).zip(numbers.chunks_exact_mut(padded));
                let ranges: Vec<_> =
                    rows.map(|(row, out)| elementwise::quantise::<S>(row, &mut out[..inputs])).collect();
                let mut out = vec![0.0; count * matrix.stride()];
                let rows = matrix::Rows::Int8 { numbers: &numbers, stride: padded, ranges: &ranges };
                matrix.product::<S>(&rows, count, Function::None, &mut out);
                out.chunks_exact(matrix.stride()).flat_map(|row| row[..outputs].to_vec()).collect()
            }
        }
        let _turn = seeded(2);
        let random = |count: i64| floats(&Tensor::randn([count], (Kind::Float, Device::Cpu))).to_vec();
        for (rows, inputs, outputs) in [(1, 384, 1152), (7, 1536, 50), (30, 33, 40)] {
            let (weight, bias, input) = (random(inputs * outputs), random(outputs), random(rows * inputs));
            let product = || Product { weight: &weight, bias: &bias, input: &input };
            for cpu in Cpu::ALL.into_iter().filter(|cpu| cpu.is_here()) {
                let expected = match cpu.has_vnni() || cpu == Cpu::Portable {
                    true => product().run::<simd::Portable<true>>(),
                    false => product().run::<simd::Portable<false>>(),
                };
                let found = simd::run(cpu, product());
                assert_eq!(found.len() as i64, rows * outputs);
                for (found, expected) in found.iter().zip(expected) {
                    assert!((found - expected).abs() < 1e-3 * expected.abs().max(1.0), "{cpu:?}: {found}, {expected}");
                }
            }
        }
    }
}
