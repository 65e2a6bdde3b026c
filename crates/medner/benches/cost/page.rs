//! Tables and plots of the figures, and the page with them.

use crate::Figures;
use crate::curves::{Curve, Point, Rate};
use crate::forward::ForwardPass;
use crate::machine::Product;
use crate::measure::Spread;
use crate::step::passes;
use anyhow::Context;
use ner_report::number::count;
use ner_report::speed::{Measured, bars, lines};
use ner_train::Recipe;
use std::path::Path;
use tch::Kind;

/// A block of the page: its name in the markers, and its text.
pub struct Block {
    pub name: &'static str,
    pub text: String,
}

/// A plot: file name and SVG.
pub struct Plot {
    pub name: &'static str,
    pub svg: String,
}

/// Renders all figures.
pub fn render(figures: &Figures) -> anyhow::Result<(Vec<Block>, Vec<Plot>)> {
    let mut blocks = vec![
        Block { name: "machine", text: machine(figures) },
        Block { name: "step", text: step(figures) },
        Block { name: "forward", text: forward(figures) },
    ];
    let mut plots =
        vec![Plot { name: "step", svg: step_plot(figures)? }, Plot { name: "forward", svg: forward_plot(figures)? }];
    for (curve, name) in figures.curves.iter().zip(["length", "batch", "model"]) {
        blocks.push(Block { name, text: growth(figures, curve, name == "model") });
        plots.push(Plot { name, svg: growth_plot(curve)? });
    }
    Ok((blocks, plots))
}

/// Writes blocks and plots into `docs/performance.md` and `docs/performance/`.
pub fn write(docs: &Path, blocks: &[Block], plots: &[Plot]) -> anyhow::Result<()> {
    let page = docs.join("performance.md");
    let mut text = fs_err::read_to_string(&page)?;
    for Block { name, text: block } in blocks {
        let (begin, end) = (format!("<!-- cost: {name} -->\n"), "<!-- end of cost -->");
        let missing = || format!("{}: missing block {}", page.display(), begin.trim_end());
        let from = text.find(&begin).with_context(missing)? + begin.len();
        let len = text[from..].find(end).with_context(missing)?;
        text.replace_range(from..from + len, block);
    }
    fs_err::write(&page, text)?;
    fs_err::create_dir_all(docs.join("performance"))?;
    for Plot { name, svg } in plots {
        fs_err::write(docs.join("performance").join(format!("{name}.svg")), svg)?;
    }
    Ok(())
}

fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let row = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let header: Vec<String> = header.iter().map(|&cell| cell.to_owned()).collect();
    let rule = format!("|{}\n", "---|".repeat(header.len()));
    [row(&header), rule].into_iter().chain(rows.into_iter().map(|cells| row(&cells))).collect()
}

/// Three significant digits, or an integer from 1000 on.
fn digits(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size >= 1000.0 => count(value.round() as usize),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn spread(Spread { median, low, high, .. }: Spread) -> String {
    format!("{} ({}–{})", digits(median), digits(low), digits(high))
}

fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}

const fn precision(bf16: bool) -> &'static str {
    if bf16 { "bf16" } else { "fp32" }
}

fn machine(figures: &Figures) -> String {
    let machine = &figures.machine;
    let (fp32, bf16) = (machine.peak(Kind::Float), machine.peak(Kind::BFloat16));
    let row = |product: &Product| {
        let Product { what, count, rows, inner, columns, fp32: slow, bf16: fast } = product;
        let times = if *count > 1 { format!("{count} of ") } else { String::new() };
        let share = |rate: &Spread, peak: f64| percent(rate.median * 1e9 / machine.workers as f64 / peak);
        vec![
            what.clone(),
            format!("{times}[{rows}×{inner}]·[{inner}×{columns}]"),
            spread(*slow),
            share(slow, fp32),
            spread(*fast),
            share(fast, bf16),
        ]
    };
    let header = ["product", "shape in each worker", "fp32, GFLOP/s", "of the best", "bf16, GFLOP/s", "of the best"];
    format!(
        "{}; threads: {}, workers: {}; medner {}. The model computes in {} here. Copies: {} GB/s in the caches, {} GB/s in \
         memory (read and written).\n\n{}",
        machine.processor,
        machine.threads,
        machine.workers,
        figures.version,
        precision(figures.bf16),
        spread(machine.cache_copy),
        spread(machine.memory_copy),
        table(&header, machine.products.iter().map(row))
    )
}

fn step(figures: &Figures) -> String {
    let step = &figures.step;
    let whole = step.whole.median;
    let roof = |ms: f64, roof_ms: Option<f64>| roof_ms.map_or("–".to_owned(), |roof_ms| percent(roof_ms / ms));
    let of_phases = step.phases.iter().map(|phase| {
        let ms = phase.ms.median;
        vec![phase.name.clone(), spread(phase.ms), percent(ms / whole), roof(ms, phase.roof_ms)]
    });
    let rest = vec!["the rest".to_owned(), digits(step.rest()), percent(step.rest() / whole), "–".to_owned()];
    let at_roof: f64 = step.phases.iter().filter_map(|phase| phase.roof_ms).sum();
    let all = vec!["**the whole step**".to_owned(), spread(step.whole), "100 %".to_owned(), roof(whole, Some(at_roof))];
    let tokens = step.rows * step.tokens;
    format!(
        "{} rows of {} tokens, {} tokens in a step ({} a second), {}.\n\n{}\n![Milliseconds of a step by \
         phase](performance/step.svg)\n",
        step.rows,
        step.tokens,
        count(tokens),
        count((1e3 * tokens as f64 / whole).round() as usize),
        precision(figures.bf16),
        table(&["phase", "ms", "of the step", "of the roofline"], of_phases.chain([rest, all]))
    )
}

/// Milliseconds measured and at the roofline.
type Taken = (Spread, f64);

/// Parts of both passes, by name.
fn both(figures: &Figures) -> Vec<(&str, [Option<Taken>; 2])> {
    let passes = [&figures.forward_in_training, &figures.forward_in_prediction];
    let found = |pass: &ForwardPass, name: &str| {
        pass.parts.iter().find(|part| part.name == name).map(|part| (part.ms, part.roof_ms))
    };
    let names = figures.forward_in_training.parts.iter().map(|part| part.name.as_str());
    names.map(|name| (name, passes.map(|pass| found(pass, name)))).collect()
}

fn forward(figures: &Figures) -> String {
    let passes = [&figures.forward_in_training, &figures.forward_in_prediction];
    let cells = |of: &ForwardPass, found: &Option<Taken>| match found {
        None => vec!["–".to_owned(); 3],
        Some((ms, roof_ms)) => {
            vec![spread(*ms), percent(ms.median / of.whole.median), percent(roof_ms / ms.median)]
        }
    };
    let rows = both(figures).into_iter().map(|(name, found)| {
        let cells = passes.iter().zip(&found).flat_map(|(pass, found)| cells(pass, found));
        [name.to_owned()].into_iter().chain(cells).collect()
    });
    let rest = passes
        .iter()
        .flat_map(|pass| vec![digits(pass.rest()), percent(pass.rest() / pass.whole.median), "–".to_owned()]);
    let whole = passes.iter().flat_map(|pass| {
        let roof: f64 = pass.parts.iter().map(|part| part.roof_ms).sum();
        vec![spread(pass.whole), "100 %".to_owned(), percent(roof / pass.whole.median)]
    });
    let rest: Vec<String> = ["the rest".to_owned()].into_iter().chain(rest).collect();
    let whole: Vec<String> = ["**the whole pass**".to_owned()].into_iter().chain(whole).collect();
    let header =
        ["part", "training, ms", "of the pass", "of the roofline", "prediction, ms", "of the pass", "of the roofline"];
    format!(
        "In each worker {} rows of {} tokens in training, {} rows in prediction, {}.\n\n{}\n![Share of each part in a forward \
         pass](performance/forward.svg)\n",
        passes[0].rows,
        passes[0].tokens,
        passes[1].rows,
        precision(figures.bf16),
        table(&header, rows.chain([rest, whole]))
    )
}

fn step_plot(figures: &Figures) -> anyhow::Result<String> {
    let step = &figures.step;
    let names = step.phases.iter().map(|phase| phase.name.clone()).chain(["the rest".to_owned()]);
    let values = step.phases.iter().map(|phase| phase.ms.median).chain([step.rest()]);
    // If the phases alone take longer than the step, the rest is negative and not drawn.
    let values = values.map(|ms| (ms >= 0.0).then_some((ms, (ms, ms)))).collect();
    let measured = vec![Measured { name: "ms".into(), values }];
    Ok(bars("Milliseconds of one training step", &names.collect::<Vec<_>>(), measured, digits)?)
}

fn forward_plot(figures: &Figures) -> anyhow::Result<String> {
    let both = both(figures);
    let names: Vec<String> = both.iter().map(|(name, _)| (*name).to_owned()).collect();
    let series = |at: usize, name: &str, whole: f64| {
        let share = |(ms, _): (Spread, f64)| (ms.median / whole, (ms.low / whole, ms.high / whole));
        Measured { name: name.to_owned(), values: both.iter().map(|(_, found)| found[at].map(share)).collect() }
    };
    let measured = vec![
        series(0, "training", figures.forward_in_training.whole.median),
        series(1, "prediction", figures.forward_in_prediction.whole.median),
    ];
    Ok(bars("Share of each part in a forward pass", &names, measured, percent)?)
}

fn kind_of(rate: &Rate) -> String {
    format!("{}, {}", if rate.training { "training" } else { "prediction" }, precision(rate.bf16))
}

fn growth(figures: &Figures, curve: &Curve, is_model: bool) -> String {
    let kinds: Vec<String> = curve.points.first().map_or(Vec::new(), |point| point.rates.iter().map(kind_of).collect());
    let recipe = Recipe::default();
    // FLOP of a token's products, over those possible in its time.
    let share = |point: &Point, rate: &Rate| {
        let kind = if rate.bf16 { Kind::BFloat16 } else { Kind::Float };
        let flops = point.shape.flops(point.tokens) * if rate.training { passes(&recipe) } else { 1.0 };
        rate.tokens.median * flops / (figures.machine.peak(kind) * figures.machine.workers as f64)
    };
    let row = |point: &Point| {
        let mut cells = vec![point.at.clone()];
        if is_model {
            let shape = &point.shape;
            cells.push(format!("{} × {}", shape.layers, shape.hidden));
            cells.push(format!("{:.1} M", shape.weights() / 1e6));
        }
        let rates = point.rates.iter();
        cells.extend(rates.map(|rate| format!("{}; {}", spread(rate.tokens), percent(share(point, rate)))));
        cells
    };
    let mut header = vec![curve.along.as_str()];
    if is_model {
        header.extend(["layers × width", "weights of layers"]);
    }
    header.extend(kinds.iter().map(String::as_str));
    let file = if is_model {
        "model"
    } else if curve.along.contains("row") {
        "length"
    } else {
        "batch"
    };
    format!(
        "Tokens a second, and the share of the roofline of products.\n\n{}\n![Tokens a second by \
         {}](performance/{file}.svg)\n",
        table(&header, curve.points.iter().map(row)),
        curve.along
    )
}

fn growth_plot(curve: &Curve) -> anyhow::Result<String> {
    let names: Vec<String> = curve.points.iter().map(|point| point.at.clone()).collect();
    let kinds = curve.points.first().map_or(0, |point| point.rates.len());
    let measured = (0..kinds).map(|kind| Measured {
        name: kind_of(&curve.points[0].rates[kind]),
        values: curve
            .points
            .iter()
            .map(|point| point.rates.get(kind).map(|rate| (rate.tokens.median, (rate.tokens.low, rate.tokens.high))))
            .collect(),
    });
    let caption = format!("Tokens a second by {}", curve.along);
    Ok(lines(&caption, &names, measured.collect(), |rate| count(rate.round() as usize))?)
}
