//! SVG plots that use the font and the colours of the page's style.

use crate::ReportError;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::ops::Range;

/// A figure.
pub struct Plot {
    /// The SVG element.
    pub svg: String,
    /// Caption.
    pub caption: String,
    /// Names and colour numbers (from 1) of the series; empty for a single series.
    pub legend: Vec<(String, usize)>,
    /// Width and height in SVG units.
    size: (i32, i32),
}

/// A series of numbers in one colour; undefined numbers are not drawn.
pub struct Series {
    pub name: String,
    /// Index in [`COLOURS`], the same in all plots of a page.
    pub colour: usize,
    pub values: Vec<Option<f64>>,
}

/// A series of points in one colour, joined by a line.
pub struct Curve {
    pub name: String,
    /// As in [`Series`].
    pub colour: usize,
    pub points: Vec<(f64, f64)>,
}

/// A score and its interval, if it has one.
pub type WithInterval = (f64, Option<(f64, f64)>);

/// A series of scores in one colour, with their intervals.
pub struct ScoreSeries {
    pub name: String,
    /// As in [`Series`].
    pub colour: usize,
    /// `None` for undefined scores.
    pub values: Vec<Option<WithInterval>>,
}

/// Colours that colour-blind readers can distinguish (Okabe and Ito, 2008): blue, orange, green, vermilion, sky blue.
/// In dark mode the page's style replaces them.
const COLOURS: [RGBColor; 5] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
];
/// Number of series with distinct colours.
pub const MOST_COLOURS: usize = COLOURS.len();
const TEXT: RGBColor = RGBColor(0x00, 0x00, 0x00);
const GRID: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);

/// Font size in SVG units, as in the style.
const TEXT_SIZE: i32 = 12;
/// Maximum width of a character at that size; the browser chooses the font.
const CHARACTER: i32 = 7;

type Area<'b> = DrawingArea<SVGBackend<'b>, plotters::coord::Shift>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// Horizontal bars, grouped by category.
pub fn bars(
    caption: &str,
    categories: &[String],
    series: &[Series],
    show: fn(f64) -> String,
) -> Result<Plot, ReportError> {
    let rows = Rows { categories, line: 14, series: series.len() };
    let most = reach(series);
    draw(caption, legend(series), rows.size(), |root| {
        let mut chart = rows.chart(root, 0.0..most, show)?;
        for at in 0..categories.len() {
            rows.name(root, &chart, at, 0.0)?;
            for (number, one) in series.iter().enumerate() {
                let Some(value) = one.values[at] else { continue };
                let (top, bottom) = rows.line(at, number);
                bar(&mut chart, one, [(0.0, top), (value, bottom)])?;
                let (x, y) = chart.backend_coord(&(value, (top + bottom) / 2.0));
                root.draw(&Text::new(show(value), (x + 4, y), text(HPos::Left)))?;
            }
        }
        Ok(())
    })
}

/// Vertical bars of shares, grouped by bin; `edges` has one more value than there are bins. All bins have one width; a
/// wider last bin is labelled with `+`.
pub fn histogram(caption: &str, edges: &[usize], series: &[Series]) -> Result<Plot, ReportError> {
    const SIZE: (i32, i32) = (440, 220);
    let bins = edges.len().saturating_sub(1);
    let width = |bin: usize| edges[bin + 1] - edges[bin];
    let open = bins > 1 && width(bins - 1) != width(0);
    // A single-value bin has its label in the middle, other bins at their start.
    let of_one = bins > 0 && width(0) == 1;
    // Labels that fit, and always that of an open-ended bin.
    let labelled = |bin: usize| {
        let widest = edges[bins - 1].to_string().len() as i32 + 2;
        let step = (widest * CHARACTER * bins as i32 / (SIZE.0 - 60)) as usize + 1;
        if open && bin + step >= bins { bin == bins - 1 } else { bin.is_multiple_of(step) }
    };
    let most = reach(series);
    draw(caption, legend(series), SIZE, |root| {
        let mut chart = upright(root, 0.0..bins.max(1) as f64, 0.0..most, tick)?;
        let thickness = 0.84 / series.len().max(1) as f64;
        for (bin, edge) in edges.iter().enumerate().take(bins) {
            let start = bin as f64;
            for (number, one) in series.iter().enumerate() {
                let left = start + 0.08 + thickness * number as f64;
                if let Some(share) = one.values[bin] {
                    bar(&mut chart, one, [(left, share), (left + thickness, 0.0)])?;
                }
            }
            if labelled(bin) {
                let plus = if open && bin == bins - 1 { "+" } else { "" };
                let (x, y) = chart.backend_coord(&(if of_one { start + 0.5 } else { start }, 0.0));
                let label = format!("{edge}{plus}");
                root.draw(&Text::new(label, (x, y + TEXT_SIZE), text(HPos::Center)))?;
            }
        }
        Ok(())
    })
}

/// Scores with intervals, as points on one line per category. The axis begins near the smallest score.
pub fn scores(caption: &str, categories: &[String], series: &[ScoreSeries]) -> Result<Plot, ReportError> {
    let rows = Rows { categories, line: 16, series: series.len() };
    let ends = |&(score, interval): &(f64, Option<(f64, f64)>)| {
        let (low, high) = interval.unwrap_or((score, score));
        [score, low, high]
    };
    let (least, most) = range(series.iter().flat_map(|one| &one.values).flatten().flat_map(ends));
    let names = named(series.iter().map(|one| (one.name.as_str(), one.colour)));
    draw(caption, names, rows.size(), |root| {
        let mut chart = rows.chart(root, least..most, tick)?;
        for at in 0..categories.len() {
            rows.name(root, &chart, at, least)?;
            for (number, one) in series.iter().enumerate() {
                let Some((score, interval)) = one.values[at] else { continue };
                let (top, bottom) = rows.line(at, number);
                let middle = (top + bottom) / 2.0;
                let (low, high) = interval.unwrap_or((score, score));
                let colour = COLOURS[one.colour];
                let line = PathElement::new(vec![(low, middle), (high, middle)], colour.stroke_width(2));
                chart.draw_series([line])?;
                chart.draw_series([Circle::new((score, middle), 4, colour.filled())])?;
                let (x, y) = chart.backend_coord(&(high.max(score), middle));
                root.draw(&Text::new(percent(score), (x + 7, y), text(HPos::Left)))?;
            }
        }
        Ok(())
    })
}

/// Curves over integers such as epochs. The value axis begins at 0 with `from_zero`, otherwise near the smallest value.
pub fn curves(caption: &str, curves: &[Curve], from_zero: bool, show: fn(f64) -> String) -> Result<Plot, ReportError> {
    const SIZE: (i32, i32) = (440, 240);
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let last = points().map(|&(x, _)| x).fold(1.0, f64::max);
    let (least, most) = range(points().map(|&(_, y)| y));
    let least = if from_zero { 0.0 } else { least };
    let names = named(curves.iter().map(|curve| (curve.name.as_str(), curve.colour)));
    draw(caption, names, SIZE, |root| {
        let mut chart = upright(root, 0.7..last + 0.3, least..most, show)?;
        let step = (last as usize).div_ceil(12).max(1);
        for number in (1..=last as usize).filter(|number| (number - 1).is_multiple_of(step)) {
            let (x, y) = chart.backend_coord(&(number as f64, least));
            root.draw(&Text::new(number.to_string(), (x, y + TEXT_SIZE), text(HPos::Center)))?;
        }
        for curve in curves {
            let colour = COLOURS[curve.colour];
            chart.draw_series([PathElement::new(curve.points.clone(), colour.stroke_width(2))])?;
            chart.draw_series(curve.points.iter().map(|&point| Circle::new(point, 3, colour.filled())))?;
        }
        Ok(())
    })
}

/// A line through points, each with half the width of its interval, if any.
pub struct Line {
    pub name: String,
    /// Index in [`COLOURS`].
    pub colour: usize,
    pub points: Vec<(f64, f64, Option<f64>)>,
}

/// Maximum number of distinguishable lines in one plot.
pub const LINES: usize = COLOURS.len();

/// Lines of shares over counts, with a thin horizontal line at `level`.
pub fn lines(caption: &str, lines: &[Line], level: Option<f64>) -> Result<Plot, ReportError> {
    const SIZE: (i32, i32) = (440, 300);
    let points = || lines.iter().flat_map(|line| &line.points);
    let heights = || points().flat_map(|&(_, y, half)| [y - half.unwrap_or(0.0), y + half.unwrap_or(0.0)]).chain(level);
    let widest = points().map(|point| point.0).fold(0.0, f64::max).max(1.0);
    let (low, high) = (heights().fold(1.0, f64::min).max(0.0), heights().fold(0.0, f64::max).min(1.0));
    let margin = (high - low).max(0.02) * 0.06;
    let names = named(lines.iter().map(|line| (line.name.as_str(), line.colour)));
    draw(caption, names, SIZE, |root| {
        let mut chart = ChartBuilder::on(root)
            .margin(8)
            .margin_right(20)
            .x_label_area_size(22)
            .y_label_area_size(48)
            .build_cartesian_2d(0.0..widest * 1.03, (low - margin)..(high + margin))?;
        chart
            .configure_mesh()
            .x_labels(5)
            .y_labels(7)
            .x_label_formatter(&|&count| format!("{count:.0}"))
            .y_label_formatter(&|&share| tick(share))
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(GRID)
            .label_style(text(HPos::Right))
            .draw()?;
        if let Some(level) = level {
            chart.draw_series([PathElement::new(vec![(0.0, level), (widest * 1.03, level)], GRID.stroke_width(2))])?;
        }
        for line in lines {
            let colour = COLOURS[line.colour];
            for &(x, y, half) in &line.points {
                if let Some(half) = half {
                    let interval = vec![(x, y - half), (x, y + half)];
                    chart.draw_series([PathElement::new(interval, colour.stroke_width(1))])?;
                }
                chart.draw_series([Circle::new((x, y), 3, colour.filled())])?;
            }
            let path: Vec<(f64, f64)> = line.points.iter().map(|&(x, y, _)| (x, y)).collect();
            chart.draw_series([PathElement::new(path, colour.stroke_width(2))])?;
        }
        Ok(())
    })
}

/// A series of measurements in one colour, one per category: the median, and its range as a bar.
pub struct Trend {
    pub name: String,
    /// Index in [`COLOURS`].
    pub colour: usize,
    /// `None` if not measured.
    pub values: Vec<Option<(f64, (f64, f64))>>,
}

/// Measurements over ordered categories such as doubling sizes; logarithmic value axis.
pub fn trends(
    caption: &str,
    categories: &[String],
    trends: &[Trend],
    show: fn(f64) -> String,
) -> Result<Plot, ReportError> {
    const SIZE: (i32, i32) = (560, 300);
    let ends = || trends.iter().flat_map(|one| &one.values).flatten().flat_map(|&(_, (low, high))| [low, high]);
    let (least, most) = (ends().fold(f64::INFINITY, f64::min), ends().fold(0.0, f64::max));
    let (least, most) = if least > 0.0 && most > 0.0 { (least, most) } else { (1.0, 10.0) };
    let (bottom, top) = (least.log10() - 0.1, most.log10() + 0.1);
    let powers = bottom.floor() as i32..=top.ceil() as i32;
    let levels = powers.flat_map(|power| [1.0, 2.0, 5.0].map(|times| times * 10f64.powi(power)));
    let last = categories.len().saturating_sub(1) as f64;
    let names = named(trends.iter().map(|one| (one.name.as_str(), one.colour)));
    draw(caption, names, SIZE, |root| {
        let mut chart = ChartBuilder::on(root)
            .margin(8)
            .x_label_area_size(22)
            .y_label_area_size(62)
            .build_cartesian_2d(-0.4..last + 0.4, bottom..top)?;
        for level in levels.filter(|level| (bottom..=top).contains(&level.log10())) {
            let height = level.log10();
            chart.draw_series([PathElement::new(vec![(-0.4, height), (last + 0.4, height)], GRID.stroke_width(1))])?;
            let (x, y) = chart.backend_coord(&(-0.4, height));
            root.draw(&Text::new(show(level), (x - 6, y), text(HPos::Right)))?;
        }
        for (at, category) in categories.iter().enumerate() {
            let (x, y) = chart.backend_coord(&(at as f64, bottom));
            root.draw(&Text::new(shortened(category), (x, y + TEXT_SIZE), text(HPos::Center)))?;
        }
        for one in trends {
            let colour = COLOURS[one.colour];
            let measured = one.values.iter().enumerate().filter_map(|(at, value)| Some((at as f64, (*value)?)));
            let mut path = Vec::new();
            for (x, (median, (low, high))) in measured {
                let range = vec![(x, low.log10()), (x, high.log10())];
                chart.draw_series([PathElement::new(range, colour.stroke_width(1))])?;
                chart.draw_series([Circle::new((x, median.log10()), 3, colour.filled())])?;
                path.push((x, median.log10()));
            }
            chart.draw_series([PathElement::new(path, colour.stroke_width(2))])?;
        }
        Ok(())
    })
}

/// Shares against shares, from 0 to 1, with the diagonal of equality. The area of a point is its weight, a share of
/// all.
pub fn diagonal(caption: &str, curves: &[(Curve, Vec<f64>)]) -> Result<Plot, ReportError> {
    const SIZE: (i32, i32) = (440, 320);
    let names = named(curves.iter().map(|(curve, _)| (curve.name.as_str(), curve.colour)));
    draw(caption, names, SIZE, |root| {
        let mut chart = ChartBuilder::on(root)
            .margin(10)
            .margin_right(24)
            .x_label_area_size(20)
            .y_label_area_size(42)
            .build_cartesian_2d(0.0..1.0, 0.0..1.0)?;
        chart
            .configure_mesh()
            .x_labels(6)
            .y_labels(6)
            .x_label_formatter(&|&share| tick(share))
            .y_label_formatter(&|&share| tick(share))
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(GRID)
            .x_label_style(text(HPos::Center))
            .y_label_style(text(HPos::Right))
            .draw()?;
        chart.draw_series([PathElement::new(vec![(0.0, 0.0), (1.0, 1.0)], GRID.stroke_width(2))])?;
        for (curve, weights) in curves {
            let colour = COLOURS[curve.colour];
            chart.draw_series([PathElement::new(curve.points.clone(), colour.stroke_width(1))])?;
            let circle = |(&point, weight): (&(f64, f64), &f64)| {
                Circle::new(point, (3.0 + 14.0 * weight.sqrt()).round() as i32, colour.filled())
            };
            chart.draw_series(curve.points.iter().zip(weights).map(circle))?;
        }
        Ok(())
    })
}

/// One row per category, one line per series in each; values extend to the right.
struct Rows<'c> {
    categories: &'c [String],
    /// Height of a line.
    line: i32,
    /// Number of series.
    series: usize,
}

impl Rows<'_> {
    /// Row height.
    const fn row(&self) -> i32 {
        self.line * self.series as i32 + 10
    }

    /// Size of the picture.
    const fn size(&self) -> (i32, i32) {
        (520, self.row() * self.categories.len() as i32 + 30)
    }

    /// Axes on which each category has height 1.
    fn chart<'a, 'b>(
        &self,
        root: &'a Area<'b>,
        values: Range<f64>,
        show: fn(f64) -> String,
    ) -> Result<Chart<'a, 'b>, DrawError> {
        let labels = self.categories.iter().map(|name| shortened(name).chars().count()).max().unwrap_or(0) as i32;
        let mut chart = ChartBuilder::on(root)
            .margin_top(4)
            // Space for the number beside the longest line.
            .margin_right(CHARACTER * 9)
            .x_label_area_size(24)
            .y_label_area_size(labels * CHARACTER + 10)
            .build_cartesian_2d(values, 0.0..self.categories.len() as f64)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .y_labels(0)
            .x_labels(6)
            .x_label_formatter(&|&value| show(value))
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(GRID)
            .label_style(text(HPos::Center))
            .draw()?;
        Ok(chart)
    }

    /// Top of a category's row.
    fn top(&self, at: usize) -> f64 {
        (self.categories.len() - at) as f64
    }

    /// Writes a category's name left of the axis, which begins at `left`.
    fn name(&self, root: &Area<'_>, chart: &Chart<'_, '_>, at: usize, left: f64) -> Result<(), DrawError> {
        let (x, y) = chart.backend_coord(&(left, self.top(at) - 0.5));
        root.draw(&Text::new(shortened(&self.categories[at]), (x - 8, y), text(HPos::Right)))
    }

    /// Top and bottom of a series' line in a category's row.
    fn line(&self, at: usize, number: usize) -> (f64, f64) {
        let thickness = f64::from(self.line) / f64::from(self.row());
        let gap = (1.0 - thickness * self.series as f64) / 2.0;
        let top = self.top(at) - gap - thickness * number as f64;
        (top, top - thickness)
    }
}

/// Axes without labels on the x axis, which the caller adds.
fn upright<'a, 'b>(
    root: &'a Area<'b>,
    across: Range<f64>,
    values: Range<f64>,
    show: fn(f64) -> String,
) -> Result<Chart<'a, 'b>, DrawError> {
    let mut chart = ChartBuilder::on(root)
        .margin(8)
        .x_label_area_size(20)
        .y_label_area_size(42)
        .build_cartesian_2d(across, values)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(0)
        .y_labels(5)
        .y_label_formatter(&|&value| show(value))
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(GRID)
        .label_style(text(HPos::Right))
        .draw()?;
    Ok(chart)
}

/// Range of the values, with a margin; 0 to 1 without values.
fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (least, most) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if least > most {
        return (0.0, 1.0);
    }
    let room = f64::max(0.06 * (most - least), 0.002);
    (least - room, most + room)
}

fn bar(chart: &mut Chart, of: &Series, corners: [(f64, f64); 2]) -> Result<(), DrawError> {
    chart.draw_series([Rectangle::new(corners, COLOURS[of.colour].filled())])?;
    Ok(())
}

impl Plot {
    /// The plot as an SVG file of its own, with background, caption and legend.
    pub fn into_file(self) -> String {
        const LINE: i32 = 20;
        let (width, height) = self.size;
        let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;");
        let mut head =
            format!("<text x=\"8\" y=\"{}\" font-weight=\"bold\">{}</text>\n", LINE - 5, escaped(&self.caption));
        let mut lines = 1;
        let mut x = 8;
        for (name, number) in &self.legend {
            let room = 26 + CHARACTER * name.chars().count() as i32;
            if x == 8 || x + room > width {
                (x, lines) = (8, lines + 1);
            }
            let RGBColor(r, g, b) = COLOURS[number - 1];
            let y = LINE * lines;
            head += &format!("<circle cx=\"{}\" cy=\"{}\" r=\"4\" fill=\"#{r:02X}{g:02X}{b:02X}\"/>\n", x + 4, y - 9);
            head += &format!("<text x=\"{}\" y=\"{}\">{}</text>\n", x + 13, y - 5, escaped(name));
            x += room;
        }
        let top = LINE * lines + 4;
        let body = self.svg.split_once('>').map_or("", |(_, body)| body).trim_end().trim_end_matches("</svg>");
        let all = height + top;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{all}\" viewBox=\"0 0 {width} {all}\">\n\
             <style>text {{ font-family: sans-serif; font-size: {TEXT_SIZE}px }}</style>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#FFFFFF\"/>\n\
             {head}<g transform=\"translate(0 {top})\">{body}</g>\n</svg>\n"
        )
    }
}

type DrawError = DrawingAreaErrorKind<std::io::Error>;

/// Names and colours, if there is more than one series.
fn legend(series: &[Series]) -> Vec<(String, usize)> {
    named(series.iter().map(|one| (one.name.as_str(), one.colour)))
}

fn named<'n>(series: impl ExactSizeIterator<Item = (&'n str, usize)>) -> Vec<(String, usize)> {
    if series.len() < 2 { Vec::new() } else { series.map(|(name, colour)| (name.to_owned(), colour + 1)).collect() }
}

fn draw(
    caption: &str,
    legend: Vec<(String, usize)>,
    (width, height): (i32, i32),
    picture: impl FnOnce(&Area<'_>) -> Result<(), DrawError>,
) -> Result<Plot, ReportError> {
    let mut svg = String::new();
    let root = SVGBackend::with_string(&mut svg, (width as u32, height as u32)).into_drawing_area();
    let drawn = picture(&root).and_then(|()| root.present());
    drawn.map_err(|error| ReportError::Plot(error.to_string()))?;
    drop(root);
    // HTML implies the XML namespace.
    let body = svg.split_once('>').map_or("", |(_, body)| body);
    let size = format!("width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\"");
    let svg = format!("<svg class=\"plot\" {size} aria-hidden=\"true\">{body}");
    Ok(Plot { svg, caption: caption.to_owned(), legend, size: (width, height) })
}

fn text(anchor: HPos) -> TextStyle<'static> {
    // plotters draws letters smaller than requested.
    ("sans-serif", f64::from(TEXT_SIZE) * 1.24).into_font().color(&TEXT).pos(Pos::new(anchor, VPos::Center))
}

/// Shortens a name, to leave space for bars.
fn shortened(name: &str) -> String {
    const MOST: usize = 28;
    match name.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &name[..at]),
        None => name.to_owned(),
    }
}

/// Length of an axis: slightly more than the largest value, or 1 without values.
fn reach(series: &[Series]) -> f64 {
    let largest = series.iter().flat_map(|one| &one.values).flatten().copied().fold(0.0, f64::max);
    if largest > 0.0 { 1.04 * largest } else { 1.0 }
}

/// A share in percent beside a bar.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// A share in percent on an axis, where all values are round.
pub fn tick(share: f64) -> String {
    // Rounded to the precision of an axis, then the shortest form.
    format!("{} %", (share * 1e6).round() / 1e4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, values: &[Option<f64>]) -> Series {
        Series { name: name.to_owned(), colour: name.len() % COLOURS.len(), values: values.to_vec() }
    }

    fn check(plot: Result<Plot, ReportError>, bars: usize, labels: &[&str]) {
        let svg = plot.expect("drawn").svg;
        let in_colours: usize = COLOURS
            .iter()
            .map(|RGBColor(r, g, b)| svg.matches(&format!("fill=\"#{r:02X}{g:02X}{b:02X}\"")).count())
            .sum();
        assert_eq!(in_colours, bars, "{svg}");
        for label in labels {
            assert!(svg.lines().any(|line| line == *label), "{label} is not in {svg}");
        }
        assert!(!svg.contains("xmlns") && !svg.contains("NaN") && svg.ends_with("</svg>\n"), "{svg}");
    }

    #[test]
    fn every_number_is_a_bar_and_what_is_undefined_is_none() {
        let categories = ["Chemical <&>".to_owned(), "x".repeat(40)];
        let two = [series("train", &[Some(0.5), None]), series("test", &[Some(0.25), Some(0.0)])];
        check(bars("", &categories, &two, percent), 3, &["Chemical &lt;&amp;&gt;", "50.0 %", "0.0 %"]);
        check(bars("", &[], &[], percent), 0, &[]);
        check(bars("", &categories[..1], &[series("none", &[None])], percent), 0, &[]);
    }

    #[test]
    fn bins_are_labelled_and_the_last_says_that_it_is_open() {
        let shares = [Some(0.5), Some(0.3), Some(0.2)];
        check(histogram("", &[1, 2, 3, 9], &[series("train", &shares)]), 3, &["1", "2", "3+"]);
        check(histogram("", &[0, 10, 20, 30], &[series("train", &shares)]), 3, &["0", "10", "20"]);
        check(histogram("", &[], &[]), 0, &[]);
    }

    #[test]
    fn points_and_intervals_stand_where_they_are_and_few_are_no_fault() {
        let curve = |points: &[(f64, f64)]| Curve { name: "a".into(), colour: 0, points: points.to_vec() };
        let two = [curve(&[(1.0, 0.5), (2.0, 0.25)]), curve(&[(1.0, 0.75)])];
        check(curves("", &two, false, percent), 3, &["1", "2"]);
        check(curves("", &[], true, percent), 0, &["1"]);
        check(diagonal("", &[(curve(&[(0.25, 0.5), (1.0, 1.0)]), vec![0.75, 0.25])]), 2, &["100 %"]);
        let of = |values: &[Option<WithInterval>]| ScoreSeries { name: "a".into(), colour: 1, values: values.to_vec() };
        let names = ["x".to_owned(), "y".to_owned()];
        check(scores("", &names, &[of(&[Some((0.5, Some((0.4, 0.6)))), None])]), 1, &["x", "y", "50.0 %"]);
    }

    #[test]
    fn measurements_stand_over_their_categories() {
        let trend =
            |values: &[Option<(f64, (f64, f64))>]| Trend { name: "a".into(), colour: 0, values: values.to_vec() };
        let names = ["16".to_owned(), "32".to_owned(), "64".to_owned()];
        let rate = |rate: f64| format!("{rate:.0}");
        let values = [Some((180.0, (150.0, 220.0))), None, Some((2100.0, (2000.0, 2200.0)))];
        check(trends("", &names, &[trend(&values)], rate), 2, &["16", "64", "200", "500", "2000"]);
        check(trends("", &[], &[], rate), 0, &[]);
    }

    #[test]
    fn a_file_brings_what_a_page_would() {
        let two = [series("a & b", &[Some(0.5)]), series("c", &[Some(0.25)])];
        let file = bars("Shares", &["x".to_owned()], &two, percent).expect("drawn").into_file();
        assert!(
            file.contains("xmlns=") && file.contains(">Shares</text>") && file.contains(">a &amp; b</text>"),
            "{file}"
        );
        assert_eq!((file.matches("<svg").count(), file.matches("</svg>").count()), (1, 1));
    }

    #[test]
    fn the_style_knows_every_colour() {
        let style = include_str!("../templates/style.css");
        for RGBColor(r, g, b) in COLOURS.into_iter().chain([GRID]) {
            assert!(style.contains(&format!("=\"#{r:02X}{g:02X}{b:02X}\"]")), "{r} {g} {b}");
        }
        assert!(style.contains(&format!("font-size: {TEXT_SIZE}px")));
    }
}
