//! A linear layer in int8 between tensors.

use super::elementwise::Function;
use super::layer::{BLOCK, Quantised};
use super::matrix::{Matrix, Packing};
use super::simd::{self, Simd, Task};
use crate::device::cpu::Cpu;
use crate::tensor_slice::{floats, floats_mut};
use tch::{Kind, Tensor};

/// The weights of a linear layer in int8.
#[derive(Debug)]
pub(crate) struct Int8Linear {
    cpu: Cpu,
    matrix: Matrix,
    outputs: i64,
}

impl Int8Linear {
    /// `weight` `[outputs, inputs]` and `bias` `[outputs]` are fp32 on the CPU. Panics if `cpu` is not here.
    pub fn new(weight: &Tensor, bias: Option<&Tensor>, cpu: Cpu) -> Self {
        assert!(cpu.is_here(), "this CPU has no {}", cpu.name());
        let outputs = weight.size()[0];
        let bias = bias.map_or_else(|| vec![0.0; outputs as usize], |bias| floats(&bias.detach()).to_vec());
        let weight = weight.detach().contiguous();
        let matrix = simd::run(cpu, Packing { weight: floats(&weight), bias: &bias, int8: true });
        Self { cpu, matrix, outputs }
    }

    /// Maps `[…, inputs]` fp32 to `[…, outputs]`. Each row has a scale of its own.
    pub fn forward(&self, input: &Tensor) -> Tensor {
        let mut shape = input.size();
        let input = input.contiguous();
        if let Some(last) = shape.last_mut() {
            *last = self.matrix.stride() as i64;
        }
        let mut output = Tensor::empty(&shape, (Kind::Float, input.device()));
        // SAFETY: the tensor was made here, and nothing shares its storage.
        let out = unsafe { floats_mut(&mut output) };
        simd::run(self.cpu, Product { matrix: &self.matrix, input: floats(&input), out });
        output.narrow(-1, 0, self.outputs)
    }
}

struct Product<'p> {
    matrix: &'p Matrix,
    input: &'p [f32],
    out: &'p mut [f32],
}

impl Task for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { matrix, input, out } = self;
        let inputs = matrix.inputs();
        let mut quantised = Quantised::default();
        for (input, out) in input.chunks(BLOCK * inputs).zip(out.chunks_mut(BLOCK * matrix.stride())) {
            let count = input.len() / inputs;
            let rows = quantised.rows_for::<S>(matrix, input, inputs, count);
            matrix.product::<S>(&rows, count, Function::None, out);
        }
    }
}
