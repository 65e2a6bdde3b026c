//! Faster operations of oneDNN on the CPU: for prediction in bf16, and for training in fp32.
//!
//! oneDNN reorders a weight matrix into blocks before each product. That takes a tenth of the time for the few hundred
//! rows of a batch on one thread; constant weights need it only once. Its softmax takes a quarter to two thirds of the
//! time of libtorch's, which handles the end of each row number by number. Its fp32 products, and those of their backward
//! pass, take half the time of MKL's on CPUs of AMD, where MKL does not use AVX-512.

use std::sync::OnceLock;
use tch::{CModule, Device, Kind, TchError, Tensor};

/// Made by `script.py`.
const SCRIPT: &[u8] = include_bytes!("linear.pt");

fn script() -> Option<&'static CModule> {
    static LOADED: OnceLock<Option<CModule>> = OnceLock::new();
    LOADED.get_or_init(|| CModule::load_data(&mut &SCRIPT[..]).ok()).as_ref()
}

/// The weight `[out, in]` in blocks, for [`linear`] only. `None` if its device and kind do not support blocks (they
/// need bf16 on a CPU with bf16 instructions); then use the plain product.
pub fn pack(weight: &Tensor) -> Option<Tensor> {
    if weight.device() != Device::Cpu || weight.kind() != Kind::BFloat16 {
        return None;
    }
    let packed = script()?.method_ts("pack", &[weight]).ok()?;
    let [outputs, inputs] = *weight.size() else { return None };
    let trial = |size| Tensor::zeros([size], (Kind::BFloat16, Device::Cpu));
    try_linear(&trial(inputs).unsqueeze(0), &packed, &trial(outputs)).is_some().then_some(packed)
}

/// Whether `weight` came from [`pack`].
pub fn is_packed(weight: &Tensor) -> bool {
    weight.is_mkldnn()
}

/// `input` `[…, in]` times a packed weight, plus the bias; `[…, out]` in bf16.
pub fn linear(input: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
    try_linear(input, weight, bias).expect("pack() has tried this product")
}

fn try_linear(input: &Tensor, weight: &Tensor, bias: &Tensor) -> Option<Tensor> {
    script()?.method_ts("linear", &[input, weight, bias]).ok()
}

/// `input` `[places, in]` fp32 on the CPU times `weight` `[out, in]`, plus the bias, with gradients of all three. `None` if
/// libtorch lacks the operation; then use the plain product.
pub fn linear_with_gradients(input: &Tensor, weight: &Tensor, bias: &Tensor) -> Option<Tensor> {
    static WORKS: OnceLock<bool> = OnceLock::new();
    let product = |input: &Tensor, weight: &Tensor, bias: &Tensor| {
        input.f_to_mkldnn(None)?.f_mkldnn_linear(weight, Some(bias))?.f_to_dense(None, false)
    };
    let works = || {
        let trial = |size: &[i64]| Tensor::ones(size, (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let (input, weight, bias) = (trial(&[2, 3]), trial(&[1, 3]), trial(&[1]));
        let gradients = |product: Tensor| {
            Tensor::f_run_backward(&[product.sum(Kind::Float)], &[&input, &weight, &bias], false, false)
        };
        tch::with_grad(|| product(&input, &weight, &bias).and_then(gradients)).is_ok()
    };
    WORKS.get_or_init(works).then(|| product(input, weight, bias).expect("it was tried"))
}

/// Softmax over the last dimension, in the kind of `scores`.
pub fn softmax(scores: &Tensor) -> Tensor {
    let is_plain = scores.device() != Device::Cpu || scores.kind() != Kind::BFloat16 || scores.requires_grad();
    if is_plain || !has_softmax() {
        scores.softmax(-1, None)
    } else {
        of_blocks(scores).expect("has_softmax() has tried this")
    }
}

fn has_softmax() -> bool {
    static WORKS: OnceLock<bool> = OnceLock::new();
    *WORKS.get_or_init(|| of_blocks(&Tensor::zeros([1, 2], (Kind::BFloat16, Device::Cpu))).is_ok())
}

fn of_blocks(scores: &Tensor) -> Result<Tensor, TchError> {
    scores.f_to_mkldnn(None)?.f_softmax(-1, None)?.f_to_dense(None, false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeded;

    #[test]
    #[expect(clippy::print_stderr, reason = "skipped tests are reported")]
    fn packed_weights_give_the_plain_product() {
        let _turn = seeded(1);
        let random = |size: &[i64]| Tensor::randn(size, (Kind::Float, Device::Cpu)).to_kind(Kind::BFloat16);
        for (rows, inputs, outputs) in [(1, 32, 16), (7, 384, 1536), (512, 1536, 384), (600, 60, 90)] {
            let (input, weight, bias) = (random(&[2, rows, inputs]), random(&[outputs, inputs]), random(&[outputs]));
            let Some(packed) = pack(&weight) else {
                eprintln!("SKIPPED: no packed weights on this CPU");
                return;
            };
            assert!(is_packed(&packed) && !is_packed(&weight));
            let plain = input.linear(&weight, Some(&bias)).to_kind(Kind::Float);
            let gap = (linear(&input, &packed, &bias).to_kind(Kind::Float) - &plain).abs() / (plain.abs() + 1.0);
            assert!(gap.max().double_value(&[]) < 1.0 / 128.0, "more than a rounding in bf16 at {rows} rows");
        }
        assert!(pack(&random(&[16, 32]).to_kind(Kind::Float)).is_none());
    }

    #[test]
    fn gradients_are_those_of_the_plain_product() {
        let _turn = seeded(1);
        let random = |size: &[i64]| Tensor::randn(size, (Kind::Float, Device::Cpu));
        for (rows, inputs, outputs) in [(1, 3, 5), (70, 384, 128)] {
            let upstream = random(&[rows, outputs]);
            let leaves = [random(&[rows, inputs]), random(&[outputs, inputs]), random(&[outputs])];
            let leaves = leaves.map(|leaf| leaf.set_requires_grad(true));
            let [input, weight, bias] = &leaves;
            let fast = linear_with_gradients(input, weight, bias).expect("libtorch has oneDNN");
            let slow = input.linear(weight, Some(bias));
            let of = |product: &Tensor| {
                let mut all = Tensor::run_backward(&[(product * &upstream).sum(Kind::Float)], &leaves, false, false);
                all.push(product.detach());
                all
            };
            for (fast, slow) in of(&fast).iter().zip(of(&slow)) {
                let gap = (fast - &slow).abs().max().double_value(&[]);
                assert!(gap < 1e-3, "{rows} rows: {gap}");
            }
        }
    }

    #[test]
    fn softmax_is_the_plain_one() {
        let _turn = seeded(1);
        for size in [[3, 5, 5], [24, 93, 93], [7, 16, 33]] {
            let scores = Tensor::randn(size, (Kind::Float, Device::Cpu)) * 4.0;
            let scores = scores.to_kind(Kind::BFloat16);
            let _ = scores.narrow(2, size[2] - 2, 2).narrow(0, 0, 1).fill_(f64::NEG_INFINITY);
            let gap = softmax(&scores).to_kind(Kind::Float) - scores.softmax(-1, Kind::Float);
            assert!(gap.abs().max().double_value(&[]) < 1.0 / 256.0);
        }
    }
}
