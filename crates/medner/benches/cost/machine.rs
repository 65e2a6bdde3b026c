//! Machine limits: matrix products and memory copies.

use crate::measure::{Effort, Spread, Task, side_by_side};
use crate::model::Shape;
use ner_model::Workers;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    pub processor: String,
    /// Threads that libtorch uses by default.
    pub threads: usize,
    /// Workers that share them.
    pub workers: usize,
    pub products: Vec<Product>,
    /// GB/s, read and written, of copies inside and outside the caches.
    pub cache_copy: Spread,
    pub memory_copy: Spread,
}

/// A matrix product `rows × inner` times `inner × columns`, in GFLOP/s over all workers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Product {
    pub what: String,
    /// Products per call.
    pub count: i64,
    pub rows: i64,
    pub inner: i64,
    pub columns: i64,
    pub fp32: Spread,
    pub bf16: Spread,
}

impl Machine {
    /// Measures the products of an encoder of this shape, on rows of `tokens` tokens per worker.
    pub fn measure(
        workers: &Workers,
        effort: Effort,
        shape: &Shape,
        rows: usize,
        tokens: usize,
    ) -> anyhow::Result<Self> {
        let all = (rows * tokens) as i64;
        let (hidden, wide, width) = (shape.hidden, shape.wide(), tokens as i64);
        let (head, count) = (hidden / shape.heads, rows as i64 * shape.heads);
        let sizes = [
            ("a large square", 1, 1024, 1024, 1024),
            ("query, key, value, output", 1, all, hidden, hidden),
            ("feed-forward, into", 1, all, hidden, wide),
            ("feed-forward, out of", 1, all, wide, hidden),
            ("attention, scores", count, width, head, width),
            ("attention, context", count, width, width, head),
        ];
        let product = |(what, count, rows, inner, columns): (&str, i64, i64, i64, i64)| -> anyhow::Result<Product> {
            let flops = (2 * count * rows * inner * columns) as f64 * workers.count() as f64 / 1e9;
            let rate = |kind: Kind| -> anyhow::Result<Spread> {
                let task = || product_task(count, [rows, inner, columns], kind);
                Ok(side_by_side(workers, effort, task)?.rate(flops))
            };
            let (fp32, bf16) = (rate(Kind::Float)?, rate(Kind::BFloat16)?);
            Ok(Product { what: what.to_owned(), count, rows, inner, columns, fp32, bf16 })
        };
        let copy = |bytes: i64| -> anyhow::Result<Spread> {
            let moved = 2.0 * bytes as f64 * workers.count() as f64 / 1e9;
            Ok(side_by_side(workers, effort, || copy_task(bytes))?.rate(moved))
        };
        Ok(Self {
            processor: processor(),
            threads: tch::get_num_threads().max(1) as usize,
            workers: workers.count(),
            products: sizes.into_iter().map(product).collect::<Result<_, _>>()?,
            // The size of a layer's widest states in half precision.
            cache_copy: copy(2 * all * wide)?,
            memory_copy: copy(128 << 20)?,
        })
    }

    /// The roofline: the highest rate of any product in `kind`, in FLOP/s per worker.
    pub fn peak(&self, kind: Kind) -> f64 {
        let rate = |product: &Product| if kind == Kind::Float { product.fp32.median } else { product.bf16.median };
        self.products.iter().map(rate).fold(0.0, f64::max) * 1e9 / self.workers as f64
    }
}

/// A product as in the model: a linear layer, or a batch of small matrices.
fn product_task(count: i64, [rows, inner, columns]: [i64; 3], kind: Kind) -> Task {
    let random = |size: &[i64]| Tensor::randn(size, (Kind::Float, Device::Cpu)).to_kind(kind);
    if count == 1 {
        let (states, weight) = (random(&[rows, inner]), random(&[columns, inner]));
        Box::new(move || drop(states.linear(&weight, None::<&Tensor>)))
    } else {
        let (left, right) = (random(&[count, rows, inner]), random(&[count, inner, columns]));
        Box::new(move || drop(left.bmm(&right)))
    }
}

fn copy_task(bytes: i64) -> Task {
    let from = Tensor::ones([bytes / 4], (Kind::Float, Device::Cpu));
    let mut to = from.zeros_like();
    Box::new(move || to.copy_(&from))
}

/// Name of the processor, if the system provides it.
fn processor() -> String {
    let said = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = said.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.to_owned())
}
