//! Parts of the encoder's forward pass. The model has no hooks, so each part is computed alone and repeatedly on
//! tensors of the same shapes. Its inputs are therefore cached more often than in a whole pass.

use crate::machine::Machine;
use crate::measure::{Effort, Spread, Task, side_by_side};
use crate::model::{Shape, batch};
use ner_model::{Activation, Bert, TrainingPass, Workers, attention, onednn};
use ner_train::Recipe;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor, no_grad};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ForwardPass {
    /// Rows per worker.
    pub rows: usize,
    pub tokens: usize,
    /// Milliseconds of the whole pass.
    pub whole: Spread,
    pub parts: Vec<Part>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Part {
    pub name: String,
    /// Milliseconds over all layers.
    pub ms: Spread,
    /// Milliseconds at the roofline: products at the highest rate of any product, everything else at the copy rate,
    /// with each number read and written once.
    pub roof_ms: f64,
}

/// Shapes of a pass in one worker.
#[derive(Clone, Copy)]
struct Size {
    rows: i64,
    width: i64,
    hidden: i64,
    wide: i64,
    heads: i64,
    kind: Kind,
    /// Whether to record gradients and apply dropout.
    training: bool,
    dropout: f64,
}

/// Longest rows for which prediction uses plain products in half precision, as in `ner-model`.
const SHORT: i64 = 128;

impl Size {
    /// Random tensor of this size; during training, a parameter or state with gradients.
    fn random(&self, size: &[i64], kind: Kind) -> Tensor {
        let tensor = (Tensor::randn(size, (Kind::Float, Device::Cpu)) * 0.1).to_kind(kind);
        tensor.set_requires_grad(self.training)
    }

    fn states(&self, width: i64) -> Tensor {
        self.random(&[self.rows, self.width, width], self.kind)
    }

    fn task(self, compute: impl Fn() -> Tensor + Send + 'static) -> Task {
        Box::new(move || drop(if self.training { compute() } else { no_grad(&compute) }))
    }

    /// `count` linear layers over the same states.
    fn linear(self, inner: i64, columns: i64, count: usize) -> Task {
        let (states, weight) = (self.states(inner), self.random(&[columns, inner], self.kind));
        let bias = self.random(&[columns], Kind::Float);
        let packed = if self.training { None } else { onednn::pack(&weight) };
        self.task(move || {
            let bias = bias.to_kind(self.kind);
            let one = || match &packed {
                Some(packed) => onednn::linear(&states, packed, &bias),
                None => states.linear(&weight, Some(&bias)),
            };
            (1..count).for_each(|_| drop(one()));
            one()
        })
    }

    fn attention(self) -> Task {
        let Self { rows, width, hidden, heads, kind, training, .. } = self;
        let head = hidden / heads;
        let (query, key, value) = (self.states(hidden), self.states(hidden), self.states(hidden));
        let plain = kind != Kind::Float && (training || width <= SHORT);
        if kind == Kind::BFloat16 && !training && attention::is_available(head) {
            let row = |at: i64| (at * width) as usize..((at + 1) * width) as usize;
            let each: Vec<_> = (0..rows).map(row).collect();
            let [query, key, value] = [query, key, value].map(|states| states.view([rows * width, hidden]));
            return self.task(move || attention::attend([&query, &key, &value], &each, heads, None));
        }
        self.task(move || {
            let split = |states: &Tensor| states.view([rows, width, heads, head]).transpose(1, 2);
            let (query, key, value) = (split(&query), split(&key), split(&value));
            let context = if plain {
                let scores = (query / (head as f64).sqrt()).matmul(&key.transpose(-2, -1));
                scores.softmax(-1, kind).matmul(&value)
            } else {
                let mask = None::<&Tensor>;
                Tensor::scaled_dot_product_attention(&query, &key, &value, mask, 0.0, false, None, false)
            };
            context.transpose(1, 2).reshape([rows, width, hidden])
        })
    }

    /// Residual sum and layer norm.
    fn norm(self) -> Task {
        let (states, residual) = (self.states(self.hidden), self.states(self.hidden));
        let (weight, bias) = (self.random(&[self.hidden], Kind::Float), self.random(&[self.hidden], Kind::Float));
        self.task(move || (&states + &residual).layer_norm([self.hidden], Some(&weight), Some(&bias), 1e-12, true))
    }

    fn dropped(self) -> Task {
        let states = self.states(self.hidden);
        let mut dropout = TrainingPass::new(1, Device::Cpu, self.dropout, 0.0);
        Box::new(move || drop(dropout.hidden_states(&states)))
    }

    fn embeddings(self) -> Task {
        const VOCABULARY: i64 = 30_522;
        // Frozen, as in the default recipe.
        let frozen = |size: &[i64]| Tensor::randn(size, (Kind::Float, Device::Cpu));
        let (words, positions) = (frozen(&[VOCABULARY, self.hidden]), frozen(&[512, self.hidden]));
        let (weight, bias) = (frozen(&[self.hidden]), frozen(&[self.hidden]));
        let ids = Tensor::randint(VOCABULARY, [self.rows, self.width], (Kind::Int64, Device::Cpu));
        self.task(move || {
            let found = Tensor::embedding(&words, &ids, -1, false, false) + positions.narrow(0, 0, self.width);
            found.layer_norm([self.hidden], Some(&weight), Some(&bias), 1e-12, true).to_kind(self.kind)
        })
    }
}

/// Name, count per pass, seconds at the roofline, task.
type Planned = (&'static str, f64, f64, Box<dyn Fn() -> Task>);

impl ForwardPass {
    /// Measures a pass over `rows` rows per worker.
    pub fn measure(
        workers: &Workers,
        effort: Effort,
        machine: &Machine,
        (shape, recipe): (&Shape, &Recipe),
        (rows, tokens): (usize, usize),
        kind: Kind,
        training: bool,
    ) -> anyhow::Result<Self> {
        let size = Size {
            rows: rows as i64,
            width: tokens as i64,
            hidden: shape.hidden,
            wide: shape.wide(),
            heads: shape.heads,
            kind,
            training,
            dropout: recipe.dropout,
        };
        let (all, hidden, wide) = ((rows * tokens) as f64, shape.hidden as f64, shape.wide() as f64);
        let bytes = if kind == Kind::Float { 4.0 } else { 2.0 };
        let products = |flops: f64| flops / machine.peak(kind);
        let copies = |numbers: f64| bytes * numbers * machine.workers as f64 / (1e9 * machine.cache_copy.median);
        let layers = shape.layers as f64;
        let mut parts: Vec<Planned> = vec![
            ("embeddings", 1.0, copies(2.0 * all * hidden), Box::new(move || size.embeddings())),
            (
                "query, key, value",
                layers,
                products(6.0 * all * hidden * hidden),
                Box::new(move || size.linear(size.hidden, size.hidden, 3)),
            ),
            ("attention", layers, products(4.0 * all * hidden * tokens as f64), Box::new(move || size.attention())),
            (
                "attention output",
                layers,
                products(2.0 * all * hidden * hidden),
                Box::new(move || size.linear(size.hidden, size.hidden, 1)),
            ),
            (
                "feed-forward, into",
                layers,
                products(2.0 * all * hidden * wide),
                Box::new(move || size.linear(size.hidden, size.wide, 1)),
            ),
            (
                "GELU",
                layers,
                copies(2.0 * all * wide),
                Box::new(move || {
                    let states = size.states(size.wide);
                    // Prediction works in place, which cannot be repeated.
                    let gelu = move || {
                        if training { Activation::Gelu.apply(states.shallow_clone()) } else { states.gelu("none") }
                    };
                    size.task(gelu)
                }),
            ),
            (
                "feed-forward, out of",
                layers,
                products(2.0 * all * wide * hidden),
                Box::new(move || size.linear(size.wide, size.hidden, 1)),
            ),
            ("residuals and layer norms", 2.0 * layers, copies(3.0 * all * hidden), Box::new(move || size.norm())),
        ];
        if training {
            // Two per layer, and that of the embeddings.
            parts.push(("dropout", 2.0 * layers + 1.0, copies(2.0 * all * hidden), Box::new(move || size.dropped())));
        }
        let measure = |(name, times, roof, task): Planned| -> anyhow::Result<Part> {
            let once = side_by_side(workers, effort, task)?;
            Ok(Part { name: name.to_owned(), ms: once.times(1e3 * times), roof_ms: 1e3 * times * roof })
        };
        let parts = parts.into_iter().map(measure).collect::<Result<_, _>>()?;
        Ok(Self {
            rows,
            tokens,
            whole: whole(workers, effort, (shape, recipe), (rows, tokens), kind, training)?,
            parts,
        })
    }

    /// Milliseconds of the whole pass outside the parts; negative if the parts alone take longer.
    pub fn rest(&self) -> f64 {
        self.whole.median - self.parts.iter().map(|part| part.ms.median).sum::<f64>()
    }
}

/// Milliseconds of the encoder's own pass.
fn whole(
    workers: &Workers,
    effort: Effort,
    (shape, recipe): (&Shape, &Recipe),
    (rows, tokens): (usize, usize),
    kind: Kind,
    training: bool,
) -> anyhow::Result<Spread> {
    let parameters = shape.parameters(recipe).for_computing(Device::Cpu, kind);
    let parameters = if training {
        parameters.requiring_gradients(|name| recipe.trains(name))
    } else {
        no_grad(|| parameters.packed())
    };
    let config = shape.config();
    // The shape created all parameters.
    let encoders = (0..workers.count()).map(|_| Bert::new(&config, &parameters)).collect::<Result<Vec<_>, _>>()?;
    let encoders = std::cell::RefCell::new(encoders);
    let task = || -> Task {
        let encoder = encoders.borrow_mut().pop().expect("one for each worker");
        let (batch, _) = batch(rows, tokens);
        let mut dropout = TrainingPass::new(1, Device::Cpu, recipe.dropout, 0.0);
        Box::new(move || {
            drop(if training {
                encoder.forward(&batch, kind, Some(&mut dropout))
            } else {
                no_grad(|| encoder.forward(&batch, kind, None))
            });
        })
    };
    Ok(side_by_side(workers, effort, task)?.times(1e3))
}
