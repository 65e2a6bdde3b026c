//! The order file of ICD-10-CM (`icd10cm_order_YEAR.txt`, columns of fixed width, described in the file that CMS adds).

use super::{Input, Output, ReadFault};
use crate::record::Record;

pub fn read(input: &mut Input, output: &mut Output) -> Result<(), ReadFault> {
    while let Some(line) = input.next_line()? {
        if line.trim().is_empty() {
            continue;
        }
        output.report.entries += 1;
        // From 1: order number in 1-5, code in 7-13, kind in 15, short name in 17-76, long name from 78.
        let chars: Vec<char> = line.chars().collect();
        let field = |from: usize, to: usize| {
            let chars = chars.get(from..to.min(chars.len()))?;
            Some(chars.iter().collect::<String>().trim().to_owned())
        };
        let (Some(order), Some(code), Some(kind), Some(short)) =
            (field(0, 5), field(6, 13), field(14, 15), field(16, 76))
        else {
            return Err(ReadFault::of("too short for an order number, a code, a kind and a name"));
        };
        if order.is_empty() || !order.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ReadFault::of("no order number in columns 1 to 5"));
        }
        if code.is_empty() || !code.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(ReadFault::of("no code in columns 7 to 13"));
        }
        let kind = match kind.as_str() {
            "0" => "header",
            "1" => "code",
            _ => return Err(ReadFault::of("column 15 is neither 0 (a header) nor 1 (a code)")),
        };
        let long = field(77, usize::MAX).unwrap_or_default();
        let mut names = [long, short].into_iter().filter(|name| !name.is_empty());
        let Some(name) = names.next() else { return Err(ReadFault::of("no name from column 17 on")) };
        let synonyms = names.filter(|short| *short != name).collect();
        // The file leaves out the dot.
        let id = match code.split_at_checked(3) {
            Some((category, rest)) if !rest.is_empty() => format!("{category}.{rest}"),
            _ => code,
        };
        let record = Record { id, name: Some(name), synonyms, types: vec![kind.to_owned()], ..Default::default() };
        output.give(record);
    }
    Ok(())
}
