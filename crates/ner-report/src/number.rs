//! Numbers formatted for people. Undefined is `–`, never 0.

/// Shown for an undefined number.
pub const UNDEFINED: &str = "–";

/// A count, with digits in groups of three.
pub fn count(number: usize) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A share in percent with two decimals. Only exactly 0 is `0 %`, and only exactly 1 is `100 %`.
pub fn percent(share: Option<f64>) -> String {
    match share {
        None => UNDEFINED.to_owned(),
        Some(0.0) => "0 %".to_owned(),
        Some(1.0) => "100 %".to_owned(),
        Some(share) if share < 0.000_05 => "< 0.01 %".to_owned(),
        Some(share) if share > 0.999_95 => "> 99.99 %".to_owned(),
        Some(share) => format!("{:.2} %", 100.0 * share),
    }
}

/// A mean with two decimals, or without decimals from 1000 on.
pub fn mean(mean: Option<f64>) -> String {
    match mean {
        None => UNDEFINED.to_owned(),
        Some(mean) if mean < 1000.0 => format!("{mean:.2}"),
        Some(mean) => count(mean.round() as usize),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        let check = |found: String, expected: &str| assert_eq!(found, expected);
        check(count(0), "0");
        check(count(123), "123");
        check(count(1234), "1,234");
        check(count(1_234_567), "1,234,567");
        check(percent(None), "–");
        check(percent(Some(0.0)), "0 %");
        check(percent(Some(0.000_01)), "< 0.01 %");
        check(percent(Some(0.3456)), "34.56 %");
        check(percent(Some(0.999_99)), "> 99.99 %");
        check(percent(Some(1.0)), "100 %");
        check(mean(None), "–");
        check(mean(Some(1.234)), "1.23");
        check(mean(Some(1234.5678)), "1,235");
    }
}
