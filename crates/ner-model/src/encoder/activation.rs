use crate::device::tensor_slice::{halves, halves_mut};
use serde::Deserialize;
use std::sync::OnceLock;
use tch::{Device, Kind, Tensor, no_grad};

/// Activation function of the feed-forward layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// Gaussian error linear unit, exact.
    #[default]
    #[serde(alias = "gelu_python")]
    Gelu,
    /// The tanh approximation of GELU.
    #[serde(alias = "gelu_pytorch_tanh", alias = "gelu_fast", alias = "gelu_accurate")]
    GeluNew,
    /// Rectified linear unit.
    Relu,
}

impl Activation {
    /// Applies it to each element of `states`.
    pub fn apply(self, mut states: Tensor) -> Tensor {
        // In place if no backward pass needs the input.
        let in_place = !states.requires_grad();
        match self {
            Self::Gelu if in_place => states.gelu_("none"),
            Self::GeluNew if in_place => states.gelu_("tanh"),
            Self::Relu if in_place => states.relu_(),
            Self::Gelu | Self::GeluNew if states.kind() == Kind::BFloat16 && states.device() == Device::Cpu => {
                self.looked_up(&states)
            }
            Self::Gelu => states.gelu("none"),
            Self::GeluNew => states.gelu("tanh"),
            Self::Relu => states.relu(),
        }
    }

    /// The same from a table of all 65,536 bf16 numbers. Forward and backward pass together take a fifth of libtorch's
    /// time, whose derivative alone took a tenth of a training step. The derivative is rounded to bf16 before it is
    /// multiplied; libtorch rounds the product.
    fn looked_up(self, states: &Tensor) -> Tensor {
        static GELU: OnceLock<Table> = OnceLock::new();
        static GELU_NEW: OnceLock<Table> = OnceLock::new();
        let table = if self == Self::Gelu { &GELU } else { &GELU_NEW }.get_or_init(|| Table::new(self));
        let states = states.contiguous();
        let (mut values, mut slopes) = no_grad(|| (states.empty_like(), states.empty_like()));
        // SAFETY: both tensors were created here, and nothing shares their storage.
        unsafe { table.look_up(halves(&states), halves_mut(&mut values), halves_mut(&mut slopes)) };
        // A product with the right gradient, whose values are replaced by those of the activation.
        let mut product = states * slopes;
        product.set_data(&values);
        product
    }
}

/// The activation and its derivative for each bf16 number, indexed by its bits.
#[derive(Debug)]
struct Table(Vec<[u16; 2]>);

impl Table {
    /// Computed by libtorch in double precision, then rounded.
    fn new(activation: Activation) -> Self {
        tch::with_grad(|| {
            let all: Vec<f32> = (0..=u16::MAX).map(|bits| half::bf16::from_bits(bits).to_f32()).collect();
            let numbers = Tensor::from_slice(&all).to_kind(Kind::Double).set_requires_grad(true);
            let values = activation.apply(numbers.shallow_clone());
            let slopes = Tensor::run_backward(&[values.sum(Kind::Double)], &[&numbers], false, false).remove(0);
            let [values, slopes] = [values.detach(), slopes].map(|exact| exact.to_kind(Kind::BFloat16));
            Self(halves(&values).iter().zip(halves(&slopes)).map(|(&value, &slope)| [value, slope]).collect())
        })
    }

    fn look_up(&self, numbers: &[u16], values: &mut [u16], slopes: &mut [u16]) {
        let table: &[[u16; 2]; 1 << 16] = self.0.as_slice().try_into().expect("an entry for each number");
        for ((number, value), slope) in numbers.iter().zip(values).zip(slopes) {
            [*value, *slope] = table[usize::from(*number)];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeded;

    #[test]
    fn looked_up_it_is_libtorchs() {
        let _turn = seeded(1);
        let numbers = Tensor::randn([64, 300], (Kind::Float, Device::Cpu)) * 3.0;
        let upstream = Tensor::randn([64, 300], (Kind::Float, Device::Cpu)).to_kind(Kind::BFloat16);
        for activation in [Activation::Gelu, Activation::GeluNew] {
            // The transpose: not contiguous.
            let run = |kind: Kind| {
                let input = numbers.to_kind(Kind::BFloat16).to_kind(kind).set_requires_grad(true);
                let value = activation.apply(&input.tr() * 1.0);
                let sum = (&value * upstream.tr().to_kind(kind)).sum(Kind::Float);
                let gradient = Tensor::run_backward(&[sum], &[&input], false, false).remove(0);
                [value.detach(), gradient].map(|tensor| tensor.to_kind(Kind::Float))
            };
            for (fast, slow) in run(Kind::BFloat16).iter().zip(run(Kind::Float)) {
                // Roundings of half a place: of the value, or of the derivative and of the product.
                let gap = (fast - &slow).abs() / (slow.abs() + 1e-3);
                assert!(gap.max().double_value(&[]) < 1.0 / 128.0);
            }
        }
    }
}
