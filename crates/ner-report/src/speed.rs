//! Plots of speed measurements, as SVG files for documents outside these pages.

use crate::ReportError;
use crate::plot::{self, Series, Trend};

/// Measurements of one thing, a value per category; `None` if not measured.
pub struct Measured {
    /// Name in the legend.
    pub name: String,
    /// Medians with their ranges.
    pub values: Vec<Option<(f64, (f64, f64))>>,
}

/// At most five lines over categories, each value with its range, on a logarithmic axis: values are above 0.
///
/// # Errors
/// If the plot cannot be drawn.
pub fn lines(
    caption: &str,
    categories: &[String],
    measured: Vec<Measured>,
    show: fn(f64) -> String,
) -> Result<String, ReportError> {
    let trends: Vec<Trend> =
        coloured(measured)?.map(|(colour, Measured { name, values })| Trend { name, colour, values }).collect();
    Ok(plot::trends(caption, categories, &trends, show)?.into_file())
}

/// Horizontal bars of medians, grouped by category.
///
/// # Errors
/// If the plot cannot be drawn.
pub fn bars(
    caption: &str,
    categories: &[String],
    measured: Vec<Measured>,
    show: fn(f64) -> String,
) -> Result<String, ReportError> {
    let series: Vec<Series> = coloured(measured)?
        .map(|(colour, Measured { name, values })| Series {
            name,
            colour,
            values: values.into_iter().map(|value| value.map(|(median, _)| median)).collect(),
        })
        .collect();
    Ok(plot::bars(caption, categories, &series, show)?.into_file())
}

fn coloured(measured: Vec<Measured>) -> Result<impl Iterator<Item = (usize, Measured)>, ReportError> {
    let (count, most) = (measured.len(), plot::MOST_COLOURS);
    if count > most {
        return Err(ReportError::Plot(format!("{count} lines, but only {most} colours")));
    }
    Ok(measured.into_iter().enumerate())
}
